// Pictures on their way to a model: of a kind and size that it takes.
const KINDS = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])
/** As much as the daemon takes of one picture. */
const MOST = 3 * 512 * 1024
/** Pixels a side of a picture that is sent as it is. */
const TAKEN = 8000
/** Models see no more of a picture than this many pixels a side. */
const SIDE = 2048

export const isPicture = (file: File): boolean => file.type.startsWith('image/')

/** The picture as base64 and its name; drawn anew, smaller, where it is too large or of another kind. Throws on what is none. */
export async function picture(file: File): Promise<{ name: string; picture: string }> {
  // What only says that it is one is found out here, not by the daemon.
  const seen = await createImageBitmap(file)
  if (KINDS.has(file.type) && file.size <= MOST && Math.max(seen.width, seen.height) <= TAKEN) {
    seen.close()
    return { name: file.name, picture: await base64(file) }
  }
  const scale = Math.min(1, SIDE / Math.max(seen.width, seen.height))
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(seen.width * scale)), Math.max(1, Math.round(seen.height * scale)))
  canvas.getContext('2d')?.drawImage(seen, 0, 0, canvas.width, canvas.height)
  seen.close()
  const smaller = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.85 })
  return { name: `${file.name.replace(/\.\w+$/, '')}.jpg`, picture: await base64(smaller) }
}

/** The bytes of a picture. */
export function bytesOf(picture: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(picture), (one) => one.charCodeAt(0))
}

function base64(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(String(reader.result).split(',')[1] ?? '')
    reader.onerror = () => reject(reader.error ?? new Error('it can not be read'))
    reader.readAsDataURL(blob)
  })
}
