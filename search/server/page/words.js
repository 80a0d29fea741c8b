/** Numbers and likenesses in words. */

export const MODALITIES = ['frame', 'color', 'audio', 'motion'];

/** How the page calls the modalities. */
export const CALLED = { frame: 'picture', color: 'colours', audio: 'sound', motion: 'motion' };

/** Weights of the modalities where none are chosen; those of vidsim's calibrated fusion. */
export const WEIGHTS = { frame: 1, color: 0.5, audio: 0.5, motion: 0.75 };

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Return a time as 1:02, or 1:02:03; with tenths below a minute where asked. */
export function clock(seconds, tenths = false) {
  const s = Math.max(0, tenths ? Math.round(seconds * 10) / 10 : Math.floor(seconds + 0.05));
  const pad = (n) => String(n).padStart(2, '0');
  const rest = tenths ? (s % 60).toFixed(1).padStart(4, '0') : pad(Math.floor(s % 60));
  const minutes = Math.floor(s / 60);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${rest}`;
}

export const decimals = (x) => x.toFixed(2);

export const count = (n, noun) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;

export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  return `${(n / 1000 ** power).toFixed(power > 1 ? 1 : 0)} ${units[power]}`;
}

/** Split a video id into its library, its folders and its name. */
export function parts(id) {
  const [library, ...rest] = id.split('/');
  return { library, folder: rest.slice(0, -1).join('/'), name: rest.at(-1) ?? id };
}

function listed(words) {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** Likenesses from which vidsim says same footage and alike, and that of another kind of thing. */
const [SAME, ALIKE, OTHER] = [0.9, 0.6, 0.33];

/**
 * Say what two videos share, such as "Same sound, other picture".
 *
 * What is neither alike nor another kind of thing, as a sound that was encoded anew may be, is
 * passed over: it has its bar.
 *
 * Args: likenesses by modality, and the word for all of them together.
 */
export function sharing(likenesses, word = 'weak') {
  const there = MODALITIES.filter((m) => m in likenesses);
  const between = (least, most) => there.filter((m) => likenesses[m] >= least && likenesses[m] < most).map((m) => CALLED[m]);
  const same = between(SAME, Infinity);
  const similar = between(ALIKE, SAME);
  if (!same.length && !similar.length) {
    if (word === 'weak' || !there.length) return 'Little in common';
    const strongest = there.reduce((a, b) => (likenesses[b] > likenesses[a] ? b : a));
    return `Most alike in ${CALLED[strongest]}`;
  }
  return capital([['same', same], ['similar', similar], ['other', between(0, OTHER)]]
    .filter(([, found]) => found.length).map(([band, found]) => `${band} ${listed(found)}`).join(', '));
}
