// What somebody is asked to approve, as it may be shown: nothing in it is hidden, and nothing looks like what it is not.
// The same characters count in the terminals (proto/src/escape.rs, escape/lookalikes.rs; tests/ui.rs compares the tables).

/** Letters that look like Latin ones: Cyrillic, then Greek and Armenian. */
const CYRILLIC =
  '\u{430}\u{435}\u{43e}\u{440}\u{441}\u{443}\u{445}\u{455}\u{456}\u{458}\u{4bb}\u{501}\u{51b}\u{51d}' +
  '\u{410}\u{412}\u{415}\u{41a}\u{41c}\u{41d}\u{41e}\u{420}\u{421}\u{422}\u{423}\u{425}\u{405}\u{406}\u{408}\u{4c0}\u{4cf}'
const OTHERS =
  '\u{3b1}\u{3bd}\u{3bf}\u{3c1}\u{3c5}\u{3f2}\u{3f3}\u{391}\u{392}\u{395}\u{396}\u{397}\u{399}\u{39a}\u{39c}\u{39d}\u{39f}' +
  '\u{3a1}\u{3a4}\u{3a5}\u{3a7}\u{578}\u{57d}\u{585}\u{561}\u{570}\u{566}\u{581}'
/** Blanks that are none for a shell, and signs that look like `- / : ; .` and quotes. */
const SIGNS =
  '\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{202f}\u{205f}\u{3000}' +
  '\u{2010}\u{2011}\u{2043}\u{2044}\u{2215}\u{29f8}\u{2236}\u{a789}\u{37e}\u{387}\u{2024}\u{2223}\u{ff0f}\u{ff1b}\u{ff5c}'
const SCRIPTS: [string, RegExp][] = [
  [CYRILLIC, /[\u{400}-\u{52f}]/u],
  [OTHERS, /[\u{370}-\u{3ff}\u{531}-\u{58f}]/u],
]
/** What steers a terminal or turns the direction of text, and what takes no room. Line feeds and tabs stay. */
const HIDDEN = new RegExp(
  '[\\u{0}-\\u{8}\\u{b}-\\u{1f}\\u{7f}-\\u{9f}\\u{61c}\\u{200e}\\u{200f}\\u{202a}-\\u{202e}\\u{2066}-\\u{2069}\\u{2028}\\u{2029}\\u{fff9}-\\u{fffb}' +
    '\\u{600}-\\u{605}\\u{6dd}\\u{70f}\\u{890}\\u{891}\\u{8e2}\\u{110bd}\\u{110cd}' +
    '\\u{ad}\\u{34f}\\u{115f}\\u{1160}\\u{17b4}\\u{17b5}\\u{180b}-\\u{180f}\\u{200b}-\\u{200d}\\u{2060}-\\u{2065}\\u{206a}-\\u{206f}\\u{3164}' +
    '\\u{fe00}-\\u{fe0f}\\u{feff}\\u{ffa0}\\u{e0000}-\\u{e0fff}]',
  'u',
)

export type Asked = { text: string; hidden: boolean; alike: boolean }

// Letters count where they stand in one word with Latin ones, or where no other letter of their script shows that the
// text is of it.
function pretended(text: string): Set<string> {
  const found = new Set<string>(SIGNS)
  const words = text.match(/[\p{Alphabetic}\p{N}]+/gu) ?? []
  for (const [letters, own] of SCRIPTS) {
    const plainly = [...text].some((one) => own.test(one) && !letters.includes(one))
    for (const word of words) {
      if (plainly && !/[a-z]/i.test(word)) continue
      for (const one of word) if (letters.includes(one)) found.add(one)
    }
  }
  return found
}

function written(one: string): string {
  const code = one.codePointAt(0) ?? 0
  if (one === '\r') return '\\r'
  return code < 0x80 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
}

/** The text with every hidden and every pretended character written out, and whether it has any. */
export function asked(text: string): Asked {
  const alike = pretended(text)
  const told: Asked = { text: '', hidden: false, alike: false }
  for (const one of text) {
    const [hides, pretends] = [HIDDEN.test(one), alike.has(one)]
    told.hidden ||= hides
    told.alike ||= pretends
    told.text += hides || pretends ? written(one) : one
  }
  return told
}
