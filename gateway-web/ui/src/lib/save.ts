// A file for the person: what a stream gave, under a name.

/** Offers `pieces` as a download. */
export function save(name: string, type: string, pieces: Uint8Array<ArrayBuffer>[]): void {
  const place = URL.createObjectURL(new Blob(pieces, { type }))
  const a = document.createElement('a')
  a.href = place
  a.download = name
  a.click()
  // The browser reads it after this call has returned.
  setTimeout(() => URL.revokeObjectURL(place), 60_000)
}
