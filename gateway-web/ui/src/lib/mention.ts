// Files of the workspace, offered while a name is written after an `@`.
import type { FileEntry } from '../gen/agentd/v1/workspace_service_pb'

export type Offer = { insert: string; shown: string; directory: boolean }
const MOST = 8

/** The name that is being written before the caret: what follows an `@` that begins a word. */
export function begun(before: string): string | undefined {
  return /(?:^|[\s([{"'`,:])@([^\s"'`()[\]{}<>,;|]*)$/.exec(before)?.[1]
}

let last: { key: string; entries: FileEntry[] } | undefined

/** What the name could become. Directories lead on. */
export async function offers(session: string, name: string): Promise<Offer[]> {
  const cut = name.lastIndexOf('/') + 1
  const [directory, stem] = [name.slice(0, cut), name.slice(cut).toLowerCase()]
  const { files, encode, decode } = await import('./files')
  const { FileKind } = await import('../gen/agentd/v1/workspace_service_pb')
  const key = `${session}\0${directory}`
  if (last?.key !== key) {
    const { entries } = await files.listFiles({ sessionId: session, path: encode(directory), pageSize: 10_000 })
    last = { key, entries }
  }
  const fits = last.entries
    .map((one) => ({ name: decode(one.name), directory: one.kind === FileKind.DIRECTORY }))
    .filter((one) => one.name.toLowerCase().includes(stem) && (stem.startsWith('.') || !one.name.startsWith('.')))
  fits.sort((a, b) => Number(b.name.toLowerCase().startsWith(stem)) - Number(a.name.toLowerCase().startsWith(stem)))
  return fits.slice(0, MOST).map((one) => {
    const path = directory + one.name
    const plain = /^[^\s"'`()[\]{}<>,;|]+$/.test(path)
    const insert = one.directory && plain ? `${path}/` : `${plain ? path : `"${path}"`} `
    return { insert, shown: one.directory ? `${path}/` : path, directory: one.directory && plain }
  })
}

/** Directories may have changed. */
export function forget(): void {
  last = undefined
}
