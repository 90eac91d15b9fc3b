export const fold = (strip) => {
  const segments = new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(strip);
  const signs = Array.from(segments, (part) => part.segment);
  const half = Math.floor(signs.length / 2);
  const pairs = [];
  for (let out = 0; out < half; out += 1) {
    const left = half - 1 - out;
    pairs.push([signs[left], signs[signs.length - 1 - left]]);
  }
  return pairs;
};
