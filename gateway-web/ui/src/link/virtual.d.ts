// The address of the built worker: see vite.config.ts.
declare module 'virtual:worker' {
  const url: string
  export default url
}
