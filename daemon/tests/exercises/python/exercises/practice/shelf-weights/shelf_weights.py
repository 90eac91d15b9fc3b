def heaviest(lines, limit):
    pass
