/** Search: the query beside the videos that are like it. */

import { ask, missing } from './api.js';
import { Card } from './card.js';
import { chooser } from './chooser.js';
import { calm, fill, h, icon, say } from './dom.js';
import { dropField, searchByFiles, send } from './drop.js';
import { empty } from './empty.js';
import { facets, isFiltered } from './facets.js';
import { least } from './least.js';
import { stopAll } from './player.js';
import { subject } from './subject.js';
import { FIRST_K, asClip, isUpload, searchFor } from './view.js';
import { counted, weigh, weightsOf } from './weigh.js';
import { CALLED, MODALITIES, count, decimals } from './words.js';

/** Wait after a change of weights or parts, so that a slider asks once and not at each step. */
const SETTLE_MS = 90;

/** Time after which a search that goes on says so. */
const SLOW_MS = 400;

/** The most results that a page shows. */
const MOST = 96;

export function mount(root, page) {
  let shown = null;
  return {
    update(view) {
      const kind = view.like.length ? 'results' : 'start';
      if (shown?.kind !== kind) {
        shown?.leave?.();
        shown = { kind, ...(kind === 'start' ? start(root, page) : results(root, page)) };
      }
      shown.update?.(view);
    },
    again: () => shown?.again?.(),
    leave: () => shown?.leave?.(),
  };
}

/** The box, before anything is asked. */
function start(root, page) {
  const found = chooser({ href: (v) => page.href(searchFor(page.view, v.video_id)), limit: 12 });
  const stored = h('section', { class: 'stored', 'aria-labelledby': 'stored-title' },
    h('h2', { id: 'stored-title' }, 'Or begin with a stored video'), found.element);
  fill(root,
    h('section', { class: 'hero' },
      h('h1', {}, 'Find videos by example'),
      h('p', { class: 'lead' }, 'By what they show, their colours, how they sound and how they move.'),
      dropField((files) => searchByFiles(page, files))),
    stored);
  const look = () => found.look().then((total) => {
    if (total === 0) fill(stored, empty(page));
  });
  look();
  const onKey = (event) => {
    if (event.detail !== '/') return;
    event.preventDefault();
    found.field.focus();
  };
  document.addEventListener('pagekey', onKey);
  return { again: look, leave: () => document.removeEventListener('pagekey', onKey) };
}

/** What stands where a result will be. */
const ghost = () => h('li', { class: 'card ghost', 'aria-hidden': 'true' }, h('div'), h('i'), h('i'), h('i'));

function results(root, page) {
  const query = subject(page, addFiles);
  const weights = weigh(page);
  const enough = least(page);
  const filters = facets(page);
  const along = h('input', {
    type: 'checkbox', checked: localStorage.getItem('along') !== 'off',
    on: { change: () => localStorage.setItem('along', along.checked ? 'on' : 'off') },
  });
  const told = h('div', { class: 'told' });
  const waiting = h('p', { class: 'soft busy', hidden: true });
  const heading = h('h1', { class: 'result-title', tabIndex: -1 }, 'Results');
  const list = h('ol', { class: 'cards' });
  const more = h('div', { class: 'after' });
  const narrow = matchMedia('(max-width: 60rem)');
  const settings = h('details', { class: 'settings', open: !narrow.matches },
    h('summary', {}, icon('filter'), 'Weights and filters'),
    weights.element, enough.element, filters.element,
    h('label', { class: 'check' }, along, h('span', {}, 'The query plays along')));
  fill(root, h('div', { class: 'search' },
    h('div', { class: 'side' }, query.element, settings),
    h('section', { class: 'found', ariaLabel: 'Results' }, heading, waiting, told, list, more)));

  const cards = new Map();
  let control = null;
  let timer = 0;
  let slow = 0;
  let asked = '';
  let clip = '';
  let answer = null;

  function body(view) {
    return {
      clips: view.like.map(asClip), not: view.not.map(asClip), start_s: view.from, end_s: view.to,
      region: view.region, k: view.k ?? FIRST_K, libraries: view.library, labels: view.label,
      min_s: view.min_s, max_s: view.max_s, since: view.since, until: view.until,
      modalities: view.modality.length ? view.modality : counted(view), weights: weightsOf(view),
    };
  }

  async function search(view, key) {
    control?.abort();
    control = new AbortController();
    const { signal } = control;
    list.setAttribute('aria-busy', 'true');
    if (!answer) fill(list, Array.from({ length: 4 }, ghost));
    clearTimeout(slow);
    slow = setTimeout(() => wait(view), SLOW_MS);
    try {
      const result = await ask('/v1/query', { method: 'POST', body: body(view), signal });
      if (key !== asked) return;
      answer = result;
      query.isGone(false);
      weights.lacks(result.missing_modalities);
      enough.draw(result);
      draw(page.view);
      const [best] = result.results;
      say(result.nothing_alike ? heading.textContent
        : best ? `${count(result.results.length, 'result')}; the best ${decimals(best.likeness)}, ${best.word}` : 'No results');
    } catch (error) {
      if (error.name === 'AbortError' || key !== asked) return;
      asked = '';
      refuse(error);
    } finally {
      if (!signal.aborted) {
        clearTimeout(slow);
        waiting.hidden = true;
        list.removeAttribute('aria-busy');
      }
    }
  }

  /** Say that it takes a while, and why: what is new, be it a clip or a part of one, is embedded first. */
  function wait(view) {
    const part = view.from !== null || view.to !== null || view.region;
    const fresh = [...view.like, ...view.not].some(isUpload) ? 'clip' : part && 'part';
    waiting.textContent = fresh ? `Comparing… A new ${fresh} takes some seconds.` : 'Comparing…';
    waiting.hidden = false;
    say(waiting.textContent);
  }

  function refuse(error) {
    const lost = error.status === 0;
    if (!lost || !answer) {
      answer = null;
      cards.clear();
      list.replaceChildren();
      more.replaceChildren();
    } else draw(page.view);
    const gone = error.status === 404;
    query.isGone(gone);
    fill(told, h('div', { class: 'note is-error', role: 'alert' }, h('p', {}, error.message),
      lost ? h('p', {}, 'It is asked again when the server is back.')
        : gone ? h('p', { class: 'row' }, dropField(addFiles, { words: 'Send a file', id: 'file-again' }),
          h('a', { href: page.href({ like: [], not: [] }) }, 'Choose another clip'))
          : h('p', {}, h('button', { type: 'button', class: 'link', on: { click: () => update(page.view) } }, 'Try again'))));
  }

  /** Search by files, too; they take the place of what the server has not got any more. */
  async function addFiles(files) {
    const tokens = await send(files);
    if (!tokens) return;
    const { like, not } = page.view;
    const gone = await missing([...like, ...not]);
    const there = (clip) => !gone.includes(clip);
    const first = there(like[0]);
    page.go({
      not: not.filter(there),
      like: first ? [...like.filter(there), ...tokens] : [...tokens, ...like.filter(there)],
      ...(first ? {} : { from: null, to: null, region: null }),
    });
  }

  function draw(view) {
    const enoughFor = answer.results.filter((r) => r.likeness >= (view.least ?? 0));
    const full = enoughFor.length >= (view.k ?? FIRST_K);
    heading.textContent = answer.nothing_alike ? 'Nothing here is much like it'
      : enoughFor.length < answer.results.length
        ? `${enoughFor.length} of ${count(answer.results.length, 'result')}`
        : full ? `The ${enoughFor.length} most alike` : count(enoughFor.length, 'result');
    fill(told, sentences(view, enoughFor));
    place(enoughFor);
    fill(more, full && enoughFor.length < MOST && h('button', {
      type: 'button', class: 'plain',
      on: { click: () => page.go({ k: Math.min(MOST, (page.view.k ?? FIRST_K) * 2) }, { replace: true }) },
    }, 'Show more'));
  }

  function sentences(view, enoughFor) {
    const { missing_modalities: missing, modalities, best_likeness: best, notes } = answer;
    const by = MODALITIES.filter((m) => modalities.includes(m)).map((m) => CALLED[m]).join(', ');
    const lines = [h('p', { class: 'soft' }, `Compared by ${by}${missing.length ? `; the query has no ${missing.map((m) => CALLED[m]).join(', no ')}` : ''}.`)];
    if (answer.nothing_alike) {
      lines.push(h('p', { class: 'note' }, `The best of them reaches ${decimals(best)}; up to ${decimals(answer.chance)} is found by chance `
        + 'in these libraries. They are shown for what they are worth.'));
    } else if (!enoughFor.length && answer.results.length) {
      lines.push(h('p', { class: 'note' }, `Nothing reaches ${decimals(view.least)}; the best is ${decimals(best)}. `,
        h('button', { type: 'button', class: 'link', on: { click: () => page.go({ least: null }) } }, 'Show all')));
    } else if (!answer.results.length) {
      lines.push(h('p', { class: 'note' }, isFiltered(view) ? 'No video passes these filters. ' : 'There is nothing to compare with.'));
    }
    return [...lines, ...notes.map((n) => h('p', { class: 'note' }, n))];
  }

  /** Put the cards in their order; those that were there move to their new place. */
  function place(matches) {
    const before = new Map([...cards].map(([id, c]) => [id, c.element.getBoundingClientRect()]));
    const wanted = new Set(matches.map((m) => m.video_id));
    for (const [id, card] of cards) {
      if (wanted.has(id)) continue;
      card.player.pause();
      cards.delete(id);
    }
    const ordered = matches.map((match) => {
      const card = cards.get(match.video_id) ?? new Card(match, page, playAlong, answer);
      card.update(match, answer);
      cards.set(match.video_id, card);
      return card;
    });
    // Moving an element stops what plays in it, so only what is out of place is moved.
    list.querySelectorAll(':scope > li').forEach((li) => wanted.has(li.dataset.id) || li.remove());
    ordered.forEach(({ element }, n) => {
      if (list.children[n] !== element) list.insertBefore(element, list.children[n] ?? null);
    });
    if (calm()) return;
    for (const { element, id } of ordered) {
      const was = before.get(id);
      if (!was?.height) {
        element.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 180 });
        continue;
      }
      const is = element.getBoundingClientRect();
      const [dx, dy] = [was.left - is.left, was.top - is.top];
      if (dx || dy) {
        element.animate([{ transform: `translate(${dx}px, ${dy}px)` }, { transform: 'none' }],
          { duration: 260, easing: 'cubic-bezier(.2,.8,.2,1)' });
      }
    }
  }

  /** Play the query, without its sound, from the second that the result's corresponds to. */
  function playAlong(card) {
    const moment = card.moment;
    if (!along.checked || !moment || !query.player || query.player.info?.kind === 'picture') return;
    const { player } = query;
    stopAll([card.player, player]);
    player.mute(true);
    player.play(Math.max(0, moment.query_start_s + card.player.now - moment.start_s), { alone: false });
  }

  function update(view) {
    query.update(view);
    weights.update(view);
    enough.update(view);
    filters.update(view);
    const key = JSON.stringify([body(view), view.label, view.min_s, view.max_s, view.since, view.until]);
    if (key === asked) {
      if (answer) draw(view);
      return;
    }
    const other = view.like[0] !== clip;
    const first = !clip;
    clip = view.like[0];
    asked = key;
    clearTimeout(timer);
    timer = setTimeout(() => search(view, key), other ? 0 : SETTLE_MS);
    if (other && !first) {
      stopAll();
      answer = null;
      cards.clear();
      fill(told);
      heading.textContent = 'Results';
      scrollTo({ top: 0, behavior: calm() ? 'auto' : 'smooth' });
      document.getElementById('query-title')?.focus({ preventScroll: true });
    }
  }

  function onKey(event) {
    const key = event.detail;
    const all = [...cards.values()].filter((c) => c.element.isConnected)
      .sort((a, b) => a.match.rank - b.match.rank);
    const at = all.findIndex((c) => c.element.contains(document.activeElement));
    if (key === 'j' || key === 'k') {
      const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + (key === 'j' ? 1 : -1)))];
      next?.player.big.focus();
      next?.element.scrollIntoView({ block: 'nearest', behavior: calm() ? 'auto' : 'smooth' });
    } else if (key === 'l' && at >= 0) all[at].more();
    else if (key === 'c' && at >= 0) all[at].compare();
    else if (key === '/') page.go({ like: [], not: [] });
    else if (key === 'i' || key === 'o') query.key(key);
    else return;
    event.preventDefault();
  }
  document.addEventListener('pagekey', onKey);
  return {
    update,
    /** Ask anew, and build anew what has lost its picture meanwhile. */
    again() {
      asked = '';
      query.again();
      for (const [id, card] of cards) {
        if (!card.element.querySelector('.no-picture')) continue;
        card.player.pause();
        card.element.remove();
        cards.delete(id);
      }
      update(page.view);
    },
    leave() {
      control?.abort();
      clearTimeout(timer);
      clearTimeout(slow);
      document.removeEventListener('pagekey', onKey);
    },
  };
}
