/** Facets of a search that the query itself does not take: label, length and date. */

import { address, ask } from './api.js';
import { isIn, quoted } from './words.js';
import { filtersOf } from './facets.js';

/** Longest filter that the server takes. */
const LONGEST = 4096;

/** Results asked for at most, to find those that pass among them. */
const DEEP = 400;

let kept = { path: '', ids: null };

/** Return the ids of all stored videos that pass the facets of a view. */
async function passing(view, signal) {
  const path = address('/v1/videos', { ...filtersOf(view), limit: 1000 });
  if (kept.path === path) return kept.ids;
  const ids = [];
  for (let offset = 0; ; offset = ids.length) {
    const { videos, total } = await ask(`${path}&offset=${offset}`, { signal });
    ids.push(...videos.map((v) => v.video_id));
    if (!videos.length || ids.length >= total) break;
  }
  kept = { path, ids };
  return ids;
}

/** A video may have several labels in its one field: "Siren; Speech". */
function labelled(labels) {
  const each = (label) => [`label == ${quoted(label)}`, ...[`${label}; %`, `%; ${label}`, `%; ${label}; %`]
    .map((pattern) => `label like ${quoted(pattern)}`)];
  const filter = labels.flatMap(each).join(' or ');
  return filter.length <= LONGEST ? filter : '';
}

/**
 * Search within the facets of a view.
 *
 * Few videos are a filter of the query by their ids; of many more results are asked for, of which
 * those that pass are kept.
 */
export async function narrowed(view, query, signal) {
  const narrows = view.label.length || view.min_s !== null || view.max_s !== null || view.since || view.until;
  if (!narrows) return query({});
  const ids = await passing(view, signal);
  const filter = isIn('video_id', ids);
  if (filter.length <= LONGEST) return query({ filter });
  const k = view.k ?? 12;
  const result = await query({ filter: labelled(view.label), k: Math.max(DEEP, k) });
  const wanted = new Set(ids);
  return { ...result, results: result.results.filter((r) => wanted.has(r.video_id)).slice(0, k) };
}
