export class Office {
  next(letter) {
    throw new Error('Remove this line and write the method');
  }

  call(letter) {
    throw new Error('Remove this line and write the method');
  }

  waiting() {
    throw new Error('Remove this line and write the method');
  }
}
