export class Office {
  #given = new Map();
  #called = new Map();

  #count(map, letter) {
    if (!/^[A-Z]$/.test(letter)) {
      throw new RangeError(`'${letter}' is no counter`);
    }
    return map.get(letter) ?? 0;
  }

  next(letter) {
    const number = this.#count(this.#given, letter) + 1;
    this.#given.set(letter, number);
    return `${letter}${number}`;
  }

  call(letter) {
    const number = this.#count(this.#called, letter) + 1;
    if (number > this.#count(this.#given, letter)) {
      return null;
    }
    this.#called.set(letter, number);
    return `${letter}${number}`;
  }

  waiting() {
    const counts = {};
    for (const letter of [...this.#given.keys()].sort()) {
      const count = this.#given.get(letter) - this.#count(this.#called, letter);
      if (count > 0) {
        counts[letter] = count;
      }
    }
    return counts;
  }
}
