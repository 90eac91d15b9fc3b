def heaviest(lines, limit):
    totals = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        shelf, colon, weight = line.partition(":")
        shelf, weight = shelf.strip(), weight.strip()
        if not colon or not shelf or not weight.isdigit():
            raise ValueError(f"line {number} is no parcel")
        totals[shelf] = totals.get(shelf, 0) + int(weight)
    over = [(-total, shelf) for shelf, total in totals.items() if total > limit]
    return [shelf for _, shelf in sorted(over)]
