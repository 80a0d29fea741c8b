/** What an empty library shows instead of videos. */

import { ask } from './api.js';
import { fill, h, icon } from './dom.js';

/** Say how a server is told what may be ingested. */
export const rootWanted = () => ['Start the server with ', h('code', {}, 'vidsim serve --root FOLDER'), '.'];

/** Say how to ingest, where nothing is stored: here only where the server has folders to read. */
export function empty(page) {
  const way = h('div', { class: 'ways' });
  ask('/v1/folders').then(({ folders }) => fill(way, folders.length
    ? h('a', { class: 'primary', href: page.href({ tab: 'ingest' }) }, 'Ingest a folder')
    : h('p', {}, 'To do that from this page: ', rootWanted())), () => undefined);
  return h('div', { class: 'empty' }, icon('ingest'), h('h2', {}, 'No video is stored yet'),
    h('p', {}, 'Ingest a folder of videos or sounds; then everything here can be searched.'), way,
    h('p', { class: 'soft' }, 'In a terminal: ', h('code', {}, 'vidsim ingest FOLDER')));
}
