/** What an empty library shows instead of videos. */

import { h, icon } from './dom.js';

/** Say how to ingest, where nothing is stored. */
export function empty(page) {
  return h('div', { class: 'empty' }, icon('ingest'), h('h2', {}, 'No video is stored yet'),
    h('p', {}, 'Ingest a folder of videos or sounds; then everything here can be searched.'),
    h('a', { class: 'primary', href: page.href({ tab: 'ingest' }) }, 'Ingest a folder'),
    h('p', { class: 'soft' }, 'Or in a terminal: ', h('code', {}, 'vidsim ingest FOLDER')));
}
