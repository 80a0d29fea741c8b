/** Ingest: choose a folder, follow the jobs. */

import { address, ask } from './api.js';
import { button, fill, h, icon, say } from './dom.js';
import { rootWanted } from './empty.js';
import { NO_FACETS } from './view.js';
import { CALLED, MODALITIES, capital, count } from './words.js';

const STATES = {
  queued: 'Waiting', running: 'Running', done: 'Done', failed: 'Failed', cancelled: 'Cancelled', interrupted: 'Interrupted',
};

/** Jobs that are followed at once: a browser has six connections, and pictures need some. */
const FOLLOWED = 2;

/** Time between two looks at the list: jobs begin elsewhere, too. */
const LOOK_MS = 3000;

const isOver = (job) => !['queued', 'running'].includes(job.state);

export function mount(root, page) {
  const folders = chooseFolder();
  const told = h('p', { class: 'note is-error', role: 'alert', hidden: true });
  const name = h('input', { id: 'library-name', autocomplete: 'off', placeholder: "the folder's name" });
  const boxes = MODALITIES.map((m) => h('input', { type: 'checkbox', value: m, checked: true }));
  const seconds = h('input', { id: 'segment', type: 'number', min: 1, step: 1, placeholder: '10' });
  const prune = h('input', { type: 'checkbox' });
  const again = h('input', { type: 'checkbox' });
  const jobs = h('ol', { class: 'jobs' });
  const libraries = h('div', {});
  const followed = new Map();
  let listed = null;
  let timer = 0;
  let left = false;

  const form = h('form', { class: 'panel', on: { submit: begin } },
    h('h2', {}, 'Ingest a folder'), folders.element,
    h('div', { class: 'field' }, h('label', { htmlFor: 'library-name' }, 'Name of the library'), name),
    h('details', {}, h('summary', {}, 'Options'),
      h('fieldset', {}, h('legend', {}, 'Compare by'), h('div', { class: 'row' },
        boxes.map((box) => h('label', { class: 'check' }, box, capital(CALLED[box.value]))))),
      h('div', { class: 'field' }, h('label', { htmlFor: 'segment' }, 'Seconds per segment of long videos'), seconds),
      h('label', { class: 'check' }, prune, 'Forget videos whose file is gone'),
      h('label', { class: 'check' }, again, 'Try files again that failed before')),
    told, h('button', { type: 'submit', class: 'primary' }, icon('ingest'), 'Ingest'));
  fill(root, h('div', { class: 'ingest' }, h('h1', {}, 'Ingest'),
    h('div', { class: 'ingest-two' }, form,
      h('div', {}, h('section', { class: 'panel' }, h('h2', {}, 'Jobs'), jobs),
        h('section', { class: 'panel' }, h('h2', {}, 'Libraries'), libraries)))));

  async function begin(event) {
    event.preventDefault();
    told.hidden = true;
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    const body = { folder: folders.value, prune: prune.checked, retry: again.checked };
    if (name.value.trim()) body.name = name.value.trim();
    if (chosen.length < MODALITIES.length) body.modalities = chosen;
    if (seconds.value) body.segment_seconds = Number(seconds.value);
    try {
      if (!body.folder) throw new Error('Choose a folder first.');
      if (!chosen.length) throw new Error('Choose at least one of what to compare by.');
      // The key makes one job of a request that is sent again.
      const headers = { 'Idempotency-Key': Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join('') };
      show(await ask('/v1/ingest', { method: 'POST', body, headers }));
      lookAtJobs();
    } catch (error) {
      told.hidden = false;
      told.textContent = error.message;
    }
  }

  /** Show a job, and follow it while it goes on; `news` tells whether it may be another than before. */
  function show(job, news = true) {
    const old = followed.get(job.job);
    // What has ended does not change, but that it may have been done again.
    if (old && isOver(old.job) && !isOver(job)) return;
    const doneAgain = isDoneAgain(job);
    const key = JSON.stringify([job, doneAgain]);
    if (old?.key === key) return;
    const element = jobItem(job, act, page, doneAgain);
    if (old) {
      const focused = old.element.contains(document.activeElement) && document.activeElement.dataset.act;
      old.element.replaceWith(element);
      if (focused) element.querySelector(`[data-act="${focused}"]`)?.focus();
    } else jobs.prepend(element);
    jobs.querySelectorAll(':scope > :not(.job)').forEach((li) => li.remove());
    const entry = { ...old, element, job, key };
    followed.set(job.job, entry);
    if (isOver(job)) {
      entry.events?.close();
      entry.events = null;
      if (old ? !isOver(old.job) : news) {
        say(`${job.library}: ${STATES[job.state]}`);
        lookAtLibraries();
      }
    } else if (!entry.events && [...followed.values()].filter((e) => e.events).length < FOLLOWED) {
      entry.events = new EventSource(`/v1/ingest/${encodeURIComponent(job.job)}/events`);
      entry.events.addEventListener('job', ({ data }) => {
        const now = JSON.parse(data);
        show(now);
        if (isOver(now)) lookAtJobs();
      });
    }
  }

  /** Whether a later try of a job is done, or goes on. */
  function isDoneAgain(job) {
    return (listed ?? []).some((each) => each.retry_of === job.job && (each.state === 'done' || !isOver(each) || isDoneAgain(each)));
  }

  async function act(job, what) {
    try {
      show(await ask(`/v1/ingest/${encodeURIComponent(job.job)}/${what}`, { method: 'POST' }));
      if (what === 'retry') lookAtJobs();
    } catch (error) {
      told.hidden = false;
      told.textContent = error.message;
    }
  }

  async function lookAtLibraries() {
    try {
      const { libraries: found } = await ask('/v1/libraries');
      fill(libraries, found.length
        ? h('ul', { class: 'libraries' }, found.map((each) => h('li', {},
          h('a', { href: page.href({ ...NO_FACETS, tab: 'browse', library: [each.library] }) }, h('bdi', {}, each.library)),
          h('span', { class: 'soft' }, ` ${count(each.videos, 'video')}, ${each.hours.toFixed(each.hours < 10 ? 2 : 0)} hours`
            + (each.missing ? `; ${each.missing} of ${each.looked_at} files missing` : '')))))
        : h('p', { class: 'soft' }, 'None yet. Choose a folder, and press Ingest.'));
    } catch (error) {
      if (error.status === 0 && libraries.children.length) return;
      fill(libraries, h('p', { class: 'note is-error' }, error.message));
    }
  }

  /** Show the jobs in their order, and look again after a while. */
  async function lookAtJobs() {
    clearTimeout(timer);
    try {
      const { jobs: found } = await ask('/v1/ingest');
      if (left) return;
      const before = listed;
      listed = found;
      if (!found.length) fill(jobs, h('li', { class: 'soft none' }, 'None yet.'));
      found.forEach((job) => show(job, before !== null));
      for (const [id, { element, events }] of followed) {
        if (found.some(({ job }) => job === id)) continue;
        events?.close();
        element.remove();
        followed.delete(id);
      }
      found.forEach(({ job }, n) => {
        const { element } = followed.get(job);
        if (jobs.children[n] !== element) jobs.insertBefore(element, jobs.children[n] ?? null);
      });
    } catch (error) {
      if (left || error.status === 0) return;
      fill(jobs, h('li', { class: 'note is-error' }, error.message));
      followed.forEach(({ events }) => events?.close());
      followed.clear();
    }
    clearTimeout(timer);
    timer = setTimeout(lookAtJobs, LOOK_MS);
  }

  /** Look at all there is; ids of folders end with the server that gave them. */
  function look() {
    folders.open(null);
    lookAtJobs();
    lookAtLibraries();
  }
  look();
  return {
    again: look,
    leave() {
      left = true;
      clearTimeout(timer);
      followed.forEach(({ events }) => events?.close());
    },
  };
}

function jobItem(job, act, page, doneAgain) {
  const now = job.steps.filter((s) => !s.finished);
  const steps = (isOver(job) ? [] : now).map((s) => h('li', {},
    h('div', { class: 'row' }, h('span', {}, capital(s.stage ?? '')), h('span', { class: 'soft' }, s.said ?? '')),
    s.note && h('p', { class: 'soft' }, h('bdi', {}, s.note)),
    h('progress', { max: s.total || 1, ...(s.total ? { value: Math.min(s.done, s.total) } : {}), ariaLabel: capital(s.stage ?? 'Step') })));
  const { report } = job;
  const acts = isOver(job)
    ? job.state !== 'done' && !doneAgain && h('button', { type: 'button', class: 'plain small', data: { act: 'retry' }, on: { click: () => act(job, 'retry') } }, 'Try again')
    : h('button', { type: 'button', class: 'plain small', data: { act: 'cancel' }, disabled: job.cancelling, on: { click: () => act(job, 'cancel') } }, job.cancelling ? 'Ending…' : 'Cancel');
  return h('li', { class: 'job', data: { state: job.state } },
    h('div', { class: 'row' }, h('strong', {}, h('bdi', {}, job.library)),
      h('span', { class: 'badge', data: { state: job.state } }, STATES[job.state] ?? job.state), acts),
    h('p', { class: 'soft' }, h('bdi', {}, job.folder)),
    job.waiting && h('p', { class: 'soft' }, job.waiting),
    job.state === 'running' && !steps.length && h('p', { class: 'soft busy' }, 'Getting ready'),
    steps.length > 0 && h('ul', { class: 'steps' }, steps),
    job.state === 'cancelled' && job.started_at && h('p', {}, 'What was finished until then is kept.'),
    job.state === 'done' && h('p', {}, h('a', { href: page.href({ ...NO_FACETS, tab: 'browse', library: [job.library] }) }, 'Browse ', h('bdi', {}, job.library))),
    job.error && h('p', { class: 'note is-error' }, job.error.message),
    report && h('p', {}, [
      `${count(report.embedded, 'video')} embedded`, report.unchanged && `${report.unchanged} unchanged`,
      report.failed.length && `${report.failed.length} failed`, report.removed && `${report.removed} removed`,
      report.no_audio && `${report.no_audio} without a sound`,
    ].filter(Boolean).join(', ')),
    report?.failed.length > 0 && h('details', {}, h('summary', {}, 'What failed'),
      h('ul', {}, report.failed.map((f) => h('li', {}, h('bdi', {}, f.path), `: ${f.reason}`)))),
    report?.notes.map((n) => h('p', { class: 'note' }, n)));
}

/** Folders to walk through: roots, then what is in them. */
function chooseFolder() {
  const trail = h('p', { class: 'trail' });
  const list = h('ul', { class: 'folders' });
  const element = h('div', { class: 'field', role: 'group', ariaLabel: 'Folder' }, trail, list);
  let value = null;

  function choose(folder) {
    value = folder?.folder ?? null;
    for (const item of list.querySelectorAll('[aria-pressed]')) item.setAttribute('aria-pressed', String(item.dataset.id === value));
  }

  async function open(folder, above = []) {
    try {
      const { folders, more } = await ask(address('/v1/folders', { parent: folder?.folder }));
      const way = folder ? [...above, folder] : [];
      fill(trail, h('button', { type: 'button', class: 'link', on: { click: () => open(null) } }, 'Folders'),
        way.map((each, n) => [' / ', h('button', { type: 'button', class: 'link', on: { click: () => open(each, way.slice(0, n)) } }, h('bdi', {}, each.name))]));
      const row = (each, words) => h('li', {},
        h('button', {
          type: 'button', class: 'folder', ariaPressed: 'false', data: { id: each.folder }, title: each.path,
          on: { click: () => choose(each) },
        }, icon('file'), h('bdi', {}, words),
        h('span', { class: 'soft' }, each.videos === null || each.videos === undefined ? '' : count(each.videos, 'file'))),
        each !== folder && button(`Open ${each.name}`, 'more', () => open(each, way), { quiet: true }));
      fill(list, folder && row(folder, 'All of this folder'), folders.map((each) => row(each, each.name)),
        more && h('li', { class: 'soft' }, 'There are more folders than are listed.'),
        !folder && !folders.length && h('li', { class: 'soft' },
          'No folder may be ingested from here yet. ', rootWanted()));
      choose(folder);
    } catch (error) {
      if (error.status === 0 && list.children.length) return;
      fill(list, h('li', { class: 'note is-error' }, error.message));
    }
  }
  return { element, open, get value() { return value; } };
}
