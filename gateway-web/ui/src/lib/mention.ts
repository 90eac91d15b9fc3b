// Files of the workspace, offered while a name is written after an `@`.
export type Offer = { insert: string; shown: string; directory: boolean }
const MOST = 8

/** The name that is being written before the caret: what follows an `@` that begins a word. */
export function begun(before: string): string | undefined {
  return /(?:^|[\s([{"'`,:])@([^\s"'`()[\]{}<>,;|]*)$/.exec(before)?.[1]
}

let last: { key: string; entries: { name: string; directory: boolean }[] } | undefined
const directory = (name: string): string => name.slice(0, name.lastIndexOf('/') + 1)
const key = (session: string, name: string): string => `${session}\0${directory(name)}`

/** What the name could become, where its directory was looked at before: at once, so that no key meets an old list. */
export function offers(session: string, name: string): Offer[] | undefined {
  if (last?.key !== key(session, name)) return undefined
  const before = directory(name)
  const stem = name.slice(before.length).toLowerCase()
  const fits = last.entries.filter((one) => one.name.toLowerCase().includes(stem) && (stem.startsWith('.') || !one.name.startsWith('.')))
  fits.sort((a, b) => Number(b.name.toLowerCase().startsWith(stem)) - Number(a.name.toLowerCase().startsWith(stem)))
  return fits.slice(0, MOST).map((one) => {
    const path = before + one.name
    const plain = /^[^\s"'`()[\]{}<>,;|]+$/.test(path)
    // Directories lead on.
    const leads = one.directory && plain
    return { insert: leads ? `${path}/` : `${plain ? path : `"${path}"`} `, shown: one.directory ? `${path}/` : path, directory: leads }
  })
}

/** Looks at the name's directory. */
export async function look(session: string, name: string): Promise<void> {
  const { files, encode, decode } = await import('./files')
  const { FileKind } = await import('../gen/agentd/v1/workspace_service_pb')
  const { entries } = await files.listFiles({ sessionId: session, path: encode(directory(name)), pageSize: 10_000 })
  last = { key: key(session, name), entries: entries.map((one) => ({ name: decode(one.name), directory: one.kind === FileKind.DIRECTORY })) }
}

/** Directories may have changed. */
export function forget(): void {
  last = undefined
}
