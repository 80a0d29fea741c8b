/** One result: it plays from the second that matched, and says why it is there. */

import { button, fill, h } from './dom.js';
import { Player } from './player.js';
import { searchFor } from './view.js';
import { CALLED, MODALITIES, capital, clock, decimals, parts, sharing } from './words.js';

/** Return a table of bars of likeness by modality; `onPick` gets a modality whose bar is chosen. */
export function bars(likenesses, modalities, onPick, hint = () => '') {
  return h('ul', { class: 'bars' }, MODALITIES.filter((m) => modalities.includes(m)).map((m) => {
    const value = likenesses[m];
    const has = value !== undefined;
    const content = [
      h('span', { class: 'bar-name' }, capital(CALLED[m])),
      h('span', { class: 'bar' }, h('i', { class: m, style: { width: `${100 * (value ?? 0)}%` } })),
      h('span', { class: 'number' }, has ? decimals(value) : 'none'),
    ];
    return h('li', {}, has && onPick
      ? h('button', { type: 'button', title: hint(m), on: { click: () => onPick(m) } }, content)
      : h('span', { class: 'bar-row' }, content));
  }));
}

/** Return the word of a likeness as a badge. */
export const badge = (word) => h('span', { class: 'badge', data: { word } }, word);

/** A result of a search, kept while it stays in the list so that it moves rather than blinks. */
export class Card {
  constructor(match, page, onPlay, answer) {
    this.page = page;
    this.id = match.video_id;
    this.onPlay = onPlay;
    const [best] = match.moments;
    this.player = new Player(match.video_id, {
      at: best?.start_s ?? 0, moments: match.moments, has: Object.keys(match.modalities), onPlay: () => onPlay(this),
    });
    this.rank = h('span', { class: 'rank' });
    this.score = h('strong', { class: 'score' });
    this.phrase = h('p', { class: 'phrase' });
    this.why = h('div', {});
    this.where = h('div', { class: 'where' });
    this.word = h('span', {});
    const { name, library } = parts(this.id);
    const title = h('h2', { id: `title-${Math.random().toString(36).slice(2)}`, title: this.id }, h('bdi', {}, name));
    const act = (words, image, f) => button(words, image, f, { quiet: true });
    this.actions = h('div', { class: 'actions' },
      button('More like this', 'more', () => this.more(), { class: 'primary small' }),
      act(`Also like ${name}`, 'plus', () => this._add('like')),
      act(`Not like ${name}`, 'minus', () => this._add('not')),
      act(`Compare ${name} with the query`, 'compare', () => this.compare()));
    this.element = h('li', { class: 'card', data: { id: this.id } },
      h('article', { 'aria-labelledby': title.id },
        this.player.element,
        h('div', { class: 'card-body' },
          h('div', { class: 'card-head' }, this.rank, title, this.score),
          h('p', { class: 'soft' }, h('bdi', {}, library), match.label && [' · ', h('bdi', {}, match.label)]),
          h('div', { class: 'card-said' }, this.word, this.phrase),
          this.why, this.where, this.actions)));
    this.update(match, answer);
  }

  /** Show another rank and likeness of the same video. */
  update(match, { modalities, chance, nothing_alike: nothing }) {
    this.match = match;
    this.rank.textContent = match.rank;
    this.score.textContent = decimals(match.likeness);
    this.score.title = `Likeness ${decimals(match.likeness)} of 1`;
    // What chance alone reaches is not praised, whatever the word for its likeness.
    const byChance = match.likeness < chance && match.word !== 'weak';
    const isChance = nothing || byChance;
    this.element.classList.toggle('is-chance', isChance);
    fill(this.word, badge(byChance ? 'by chance' : match.word));
    const likenesses = Object.fromEntries(Object.entries(match.modalities).map(([m, v]) => [m, v.likeness]));
    this.phrase.textContent = isChance ? '' : sharing(likenesses, match.word);
    fill(this.why, bars(likenesses, modalities,
      (m) => this.playFrom(match.modalities[m]), (m) => this._hint(m)));
    this.player.moments = match.moments;
    this.player._mark();
    const others = match.moments.slice(1, 6);
    fill(this.where, others.length > 0 && [
      h('span', { class: 'soft' }, 'Also at'),
      others.map((m) => h('button', {
        type: 'button', class: 'chip', title: `Likeness ${decimals(m.likeness)}`, on: { click: () => this.playFrom(m) },
      }, clock(m.start_s))),
    ]);
  }

  _hint(modality) {
    const m = this.match.modalities[modality];
    return `Rank ${m.rank} by ${CALLED[modality]}; most alike at ${clock(m.start_s)}, the query at ${clock(m.query_start_s)}`;
  }

  /** Play from where a stretch of the query matches. */
  playFrom(moment) {
    this.from = moment;
    this.player.play(moment.start_s);
  }

  /** The stretch of which it plays: the one chosen last, else the best. */
  get moment() {
    return this.from ?? this.match.moments[0];
  }

  more() {
    this.page.go(searchFor(this.page.view, this.id));
  }

  compare() {
    const [a] = this.page.view.like;
    this.page.go({ tab: 'compare', a, b: this.id });
  }

  _add(list) {
    const { view } = this.page;
    if (!view[list].includes(this.id)) this.page.go({ [list]: [...view[list], this.id] });
  }
}
