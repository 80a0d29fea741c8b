/** What the page shows, as its address holds it. */

const LISTS = ['like', 'not', 'library', 'label', 'modality'];
const NUMBERS = ['from', 'to', 'k', 'least', 'min_s', 'max_s', 'page'];
const TEXTS = ['tab', 'since', 'until', 'contains', 'sort', 'by', 'colour', 'undecided', 'a', 'b'];

/** How many results a search starts with. */
export const FIRST_K = 12;

/** The facets, which searches, lists and the map have in common. */
export const FACETS = ['library', 'label', 'min_s', 'max_s', 'since', 'until'];

/** What a view without them has, from its beginning on. */
export const NO_FACETS = { library: [], label: [], min_s: null, max_s: null, since: '', until: '', contains: '', page: null };

/** A clip is an id, which has a slash, or the token of an upload, which has none. */
export const isUpload = (clip) => !clip.includes('/');

/** Return a clip as the server wants it. */
export const asClip = (clip) => (isUpload(clip) ? { upload: clip } : { video: clip });

/** Read the view of an address; what is not understood is left out. */
export function readView(search) {
  const params = new URLSearchParams(search);
  const view = { tab: '', weights: null, region: null };
  for (const name of LISTS) view[name] = params.getAll(name).filter(Boolean);
  for (const name of NUMBERS) {
    const value = Number.parseFloat(params.get(name));
    view[name] = Number.isFinite(value) && value >= 0 ? value : null;
  }
  for (const name of TEXTS) view[name] = params.get(name) ?? '';
  const region = (params.get('region') ?? '').split(',').map(Number);
  if (region.length === 4 && region.every((x) => x >= 0 && x <= 1)) view.region = region;
  const weights = Object.fromEntries((params.get('weights') ?? '').split(',')
    .map((pair) => pair.split(':')).filter(([m, w]) => m && w >= 0 && w !== '')
    .map(([m, w]) => [m, Number(w)]));
  if (Object.keys(weights).length) view.weights = weights;
  return view;
}

/** Write a view as an address. */
export function writeView(view) {
  const params = new URLSearchParams();
  for (const name of TEXTS) if (view[name]) params.set(name, view[name]);
  for (const name of LISTS) for (const value of view[name] ?? []) params.append(name, value);
  for (const name of NUMBERS) {
    if (view[name] !== null && view[name] !== undefined) params.set(name, String(view[name]));
  }
  if (view.region) params.set('region', view.region.map((x) => +x.toFixed(3)).join(','));
  if (view.weights) {
    params.set('weights', Object.entries(view.weights).map(([m, w]) => `${m}:${w}`).join(','));
  }
  // Slashes and commas are harmless in a query string, and people read these addresses.
  const text = params.toString().replace(/%2F/g, '/').replace(/%2C/g, ',').replace(/%3A/g, ':');
  return text ? `/?${text}` : '/';
}

/** Return the view of a new search by one clip; facets, weights and modalities stay. */
export function searchFor(view, clip) {
  return {
    ...view, tab: '', like: [clip], not: [], from: null, to: null, region: null, k: null,
    contains: '', page: null,
  };
}
