/** Starts the page: tabs, theme, the state of the server, and which view is shown. */

import { openSession, server, watch } from './api.js';
import { button, dialog, fill, h, icon, say } from './dom.js';
import { readView, writeView } from './view.js';
import { takeDrops } from './drop.js';
import { offerKeys } from './keys.js';
import { stopAll } from './player.js';

const TABS = [
  ['', 'Search', 'search', () => import('./search.js')],
  ['browse', 'Browse', 'browse', () => import('./browse.js')],
  ['map', 'Map', 'map', () => import('./map.js')],
  ['compare', 'Compare', 'compare', () => import('./compare.js')],
  ['duplicates', 'Duplicates', 'duplicates', () => import('./duplicates.js')],
  ['ingest', 'Ingest', 'ingest', () => import('./ingest.js')],
];

/** Changes of one kind within this time are one step of the browser's history. */
const ONE_STEP_MS = 1500;

const main = document.getElementById('main');
let view = readView(location.search);
let shown = { tab: null };
let last = { merge: '', at: 0 };

/** What views get: the view, and ways to another. */
const page = {
  get view() { return view; },
  /** Show another view; `merge` names a kind of change that is one step of history. */
  go(changes, { merge = '', replace = false } = {}) {
    const next = { ...view, ...changes };
    const to = writeView(next);
    if (to === writeView(view)) return;
    const one = replace || (merge && merge === last.merge && performance.now() - last.at < ONE_STEP_MS);
    last = { merge, at: performance.now() };
    history[one ? 'replaceState' : 'pushState'](null, '', to);
    render();
  },
  href: (changes) => writeView({ ...view, ...changes }),
};

/** Follow a link within the page without loading it again. */
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="/?"], a[href="/"]');
  if (!link || link.target || link.download || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const to = link.getAttribute('href');
  if (to !== writeView(view)) history.pushState(null, '', to);
  else return;
  last = { merge: '', at: 0 };
  render();
});

addEventListener('popstate', () => {
  last = { merge: '', at: 0 };
  render();
});

async function render({ again = false } = {}) {
  view = readView(location.search);
  const [tab, title, , load] = TABS.find(([name]) => name === view.tab) ?? TABS[0];
  markTab(tab);
  document.title = tab ? `${title} · vidsim` : 'vidsim';
  if (shown.tab !== tab || again) {
    stopAll();
    shown.leave?.();
    shown = { tab };
    const mine = shown;
    const loaded = await load().catch(() => null);
    if (mine !== shown) return;
    main.className = `view-${tab || 'search'}`;
    main.replaceChildren();
    if (!loaded) {
      // A browser may remember that a file could not be had, for as long as the page is open.
      shown.again = () => location.reload();
      await tellUnloaded(title);
      return;
    }
    const { mount } = loaded;
    Object.assign(shown, mount(main, page));
    if (!again) scrollTo(0, 0);
  }
  shown.update?.(view);
}

/** Say that a view's file could not be had; a lost server that is back is asked for it again. */
async function tellUnloaded(title) {
  const more = h('p', {}, 'It is tried again when the server is back.');
  main.append(h('div', { class: 'note is-error', role: 'alert' }, h('p', {}, `${title} could not be loaded.`), more));
  if (await fetch('/healthz').then(({ ok }) => ok, () => false)) {
    fill(more, h('button', { type: 'button', class: 'link', on: { click: () => location.reload() } }, 'Load the page again'));
  } else watch();
}

/** Get the files of all views, so that they are there should the server be lost. */
function loadAhead() {
  for (const [, , , load] of TABS) load().catch(() => undefined);
}

function markTab(tab) {
  for (const link of document.querySelectorAll('#tabs a')) {
    const here = link.dataset.tab === tab;
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    // Facets go along from tab to tab; the search itself stays where it is.
    link.href = writeView({ ...view, tab: link.dataset.tab, page: null });
  }
}

function drawTabs() {
  fill(document.getElementById('tabs'), TABS.map(([tab, title, image]) =>
    h('a', { data: { tab }, href: '/' }, icon(image), h('span', {}, title))));
  const theme = button('Dark or light', 'dark', () => {
    const dark = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = dark;
    localStorage.setItem('theme', dark);
    drawTheme();
    dispatchEvent(new Event('themechange'));
  }, { quiet: true });
  const drawTheme = () => {
    const to = isDark() ? 'light' : 'dark';
    theme.title = `Switch to ${to}`;
    theme.setAttribute('aria-label', theme.title);
    theme.replaceChildren(icon(to));
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    drawTheme();
    dispatchEvent(new Event('themechange'));
  });
  drawTheme();
  fill(document.getElementById('tools'), theme, offerKeys(page));
}

const isDark = () => (document.documentElement.dataset.theme
  ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';

const banner = document.getElementById('banner');

function tellBanner(kind, words) {
  banner.hidden = !words;
  banner.dataset.kind = kind;
  fill(banner, words && h('span', {}, words));
}

server.addEventListener('lost', () => {
  document.body.classList.add('is-lost');
  tellBanner('lost', 'The server does not answer. Trying again until it does; what you see stays.');
});
server.addEventListener('back', () => {
  tellBanner('', '');
  document.body.classList.remove('is-lost');
  say('The server answers again.');
  if (shown.again) shown.again();
  else render({ again: true });
});
server.addEventListener('busy', ({ detail }) =>
  tellBanner('busy', `The server has its hands full; asking again in ${Math.ceil(detail)} s.`));
server.addEventListener('calm', () => banner.dataset.kind === 'busy' && tellBanner('', ''));

let asking = null;

server.addEventListener('locked', ({ detail }) => {
  if (asking) return;
  const told = h('p', { class: 'note', role: 'alert', hidden: true });
  const field = h('input', { type: 'password', autocomplete: 'off', id: 'token', required: true });
  const form = h('form', {
    on: {
      async submit(event) {
        event.preventDefault();
        try {
          await openSession(field.value.trim());
          asking.close();
          tellBanner('', '');
          render({ again: true });
        } catch (error) {
          told.hidden = false;
          told.textContent = error.message;
        }
      },
    },
  }, h('p', {}, 'Paste the token that vidsim serve printed, or open the address that it printed.'),
  h('label', { htmlFor: 'token' }, 'Token'), field, told,
  h('button', { class: 'primary', type: 'submit' }, 'Go on'));
  asking = dialog('This server needs a token', form);
  asking.addEventListener('close', () => { asking = null; });
  field.focus();
  say(detail);
});

/** A token in the address is handed in once, and does not stay in the address or the history. */
async function begin() {
  drawTabs();
  takeDrops(page);
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) {
    history.replaceState(null, '', location.pathname + location.search);
    await openSession(token).catch((error) => tellBanner('lost', error.message));
  }
  await render();
  (window.requestIdleCallback ?? setTimeout)(loadAhead);
}

begin();
