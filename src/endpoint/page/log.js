// The messages of a room on the screen: sorted, bounded, with a line wherever some are missing.

import { avatar, button, contentBlock, contentOf, element, nameOf, when } from "./show.js";

const SHOWN_MAX = 500;          // messages kept while the end is in view…
const SHOWN_MAX_BACK = 2000;    // …and while somebody reads further up
const FIRST_PAGE = 100;         // messages loaded on arrival
const PAGE = 300;               // messages loaded at a time later: the most that the protocol gives at once
const TOGETHER = 5 * 60_000;    // ms within which messages of one sender share a head
const NOT_AVAILABLE = 108;      // the error of a room without history

export class Log {
  #view;                        // what scrolls
  #list; #top; #jump;
  #load; #isOwn;
  #queue = [];
  #entries = [];                // { life, key, offset, line, … } in the order of life and key
  #life = 0;                    // counts the epochs seen; offsets of different ones have nothing in common
  #epoch = null;
  #checked = [];                // { life, from, to }: where the history has been asked and has nothing more
  #loading = null;              // { from, to } that is being asked for
  #problem = "";                // why the history could not be read
  #gaps = new Map();
  #unread = 0;
  #position = 0;                // the latest offset that is known of
  #stick = true;                // whether the end was in view after the latest change
  #scheduled = false;

  /**
   * `root` is the .talk of a room. `load({ limit, since, reverse })` reads its history; `isOwn(info)` says whether
   * that is this page.
   */
  constructor(root, { load, isOwn }) {
    this.#view = root.querySelector(".log");
    this.#list = root.querySelector(".list");
    this.#top = root.querySelector(".top");
    this.#jump = root.querySelector(".jump");
    this.#load = load;
    this.#isOwn = isOwn;
    this.#view.addEventListener("scroll", () => this.#isAtEnd() && this.#hideJump(), { passive: true });
    this.#jump.addEventListener("click", () => {
      this.toEnd();
      this.#view.focus();
    });
    new ResizeObserver(() => this.#stick && this.toEnd()).observe(this.#view);
  }

  /** In the room, at this position. Reads what came before, or what came since `before` and was not recovered. */
  arrived(position, recovered) {
    const before = this.#epoch === position.epoch ? this.#last() : 0;
    if (this.#epoch !== position.epoch) {
      if (this.#epoch !== null) this.note("The room has begun anew. What was said in between is lost.", "lost");
      this.#life++;
      this.#epoch = position.epoch;
      this.#checked = [];
      this.#loading = null;
    }
    this.#problem = "";
    this.#position = position.offset;
    const isNew = before === 0 && this.#checked.length === 0;
    if (position.offset > before && (isNew || !recovered)) {
      this.#read(before + 1, position.offset, isNew ? FIRST_PAGE : PAGE);
    } else {
      this.#schedule();
    }
  }

  /** Shows a publication. `time` is when it came, if that is known. */
  add(publication, time) {
    this.#position = Math.max(this.#position, publication.offset ?? 0);
    this.#push({ life: this.#life, publication, time });
    if (!this.#isAtEnd()) this.#unread++;
  }

  /** A line that is no message. */
  note(text, kind = "") {
    this.#push({ life: this.#life, note: element("p", `note ${kind}`, text) });
  }

  toEnd() {
    this.#view.scrollTop = this.#view.scrollHeight;
    this.#hideJump();
  }

  // ---- the history ----

  async #read(from, to, limit) {
    if (this.#loading) return;
    const life = this.#life;
    this.#loading = { from, to };
    this.#problem = "";
    this.#schedule();
    const checked = { life, from: to + 1, to };
    this.#checked.push(checked);
    try {
      // A reply may hold fewer than asked for and not be the last; an empty one is.
      for (let left = limit; left > 0 && checked.from > from;) {
        const since = { offset: checked.from, epoch: this.#epoch };
        const most = Math.min(left, checked.from - from);
        const { publications = [] } = await this.#load({ limit: most, since, reverse: true });
        if (life !== this.#life) return;
        for (const publication of publications) this.#push({ life, publication, time: publication.time }, false);
        left -= publications.length;
        checked.from = publications.at(-1)?.offset ?? from;
      }
    } catch (error) {
      const isOff = error.code === NOT_AVAILABLE;
      this.#problem = isOff ? "This room keeps no history." : `The history cannot be read: ${error.message}.`;
    } finally {
      this.#checked = this.#checked.filter((range) => range.from <= range.to);
      if (life === this.#life) this.#loading = null;
      this.#schedule();
    }
  }

  #isChecked(from, to) {
    return this.#checked.some((range) => range.life === this.#life && range.from <= from && to <= range.to);
  }

  // The latest offset shown or about to be.
  #last() {
    const newest = this.#queue.findLast((item) => item.life === this.#life && item.publication?.offset);
    if (newest) return newest.publication.offset;
    return this.#entries.findLast((entry) => entry.life === this.#life && entry.offset)?.offset ?? 0;
  }

  // ---- once per frame: a fast room must not freeze the page ----

  #push(item, mayDrop = true) {
    this.#queue.push(item);
    // Whatever does not fit on the screen any more is in the history.
    if (mayDrop && this.#queue.length > SHOWN_MAX) this.#forget(this.#queue.shift().publication?.offset ?? 0);
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush() {
    const atEnd = this.#isAtEnd();
    const anchor = atEnd ? null : this.#firstVisible();
    const top = anchor?.offsetTop;
    for (const item of this.#queue.splice(0)) this.#insert(item);
    this.#trim(atEnd ? SHOWN_MAX : SHOWN_MAX_BACK);
    this.#group();
    this.#markGaps();
    this.#describeTop();
    this.#stick = atEnd;
    if (atEnd) this.toEnd();
    else if (anchor?.isConnected) this.#view.scrollTop += anchor.offsetTop - top;
    if (this.#unread && !atEnd) {
      this.#jump.hidden = false;
      this.#jump.textContent = `${this.#unread.toLocaleString()} new ↓`;
      this.#jump.ariaLabel = `${this.#unread} new messages: go to the end`;
    }
  }

  #insert({ life, publication, time, note }) {
    const offset = publication?.offset ?? 0;
    // What has no offset of its own stays behind what is there.
    const key = offset || (this.#entries.at(-1)?.key ?? 0);
    let at = this.#entries.length;
    const isBehind = (entry) => entry.life > life || (entry.life === life && entry.key > key);
    while (at > 0 && isBehind(this.#entries[at - 1])) at--;
    for (let i = at - 1; offset && this.#entries[i]?.life === life && this.#entries[i].key === offset; i--) {
      if (this.#entries[i].offset === offset) return; // it is here
    }
    const entry = note ? { line: note } : this.#messageEntry(publication, time);
    Object.assign(entry, { life, key, offset });
    this.#list.insertBefore(entry.line, this.#entries[at]?.line ?? null);
    this.#entries.splice(at, 0, entry);
  }

  #messageEntry(publication, time) {
    const { info, offset } = publication;
    const content = contentOf(publication);
    const own = this.#isOwn(info);
    const line = element("div", own ? "message own" : "message");
    const head = element("div", "head");
    const who = element("bdi", "who", own ? "You" : nameOf(info));
    if (info?.client) who.title = `${info.user ? `${info.user}, ` : ""}connection ${info.client}`;
    if (!info) who.title = "The server names no sender: published over HTTP, for example";
    head.append(who);
    if (time) {
      const shown = element("time", "", when(time));
      shown.dateTime = new Date(time).toISOString();
      shown.title = new Date(time).toLocaleString();
      head.append(shown);
    }
    if (offset) head.append(element("span", "offset", `#${offset}`));
    line.append(avatar(info), head, contentBlock(content));
    return { line, time, sender: info?.client ?? "", plain: content.kind === "text" };
  }

  #trim(most) {
    const excess = this.#entries.length - most;
    if (excess <= 0) return;
    for (const entry of this.#entries.splice(0, excess)) entry.line.remove();
    this.#forget((this.#entries.find((entry) => entry.offset && entry.life === this.#life)?.offset ?? 1) - 1);
  }

  // Nothing is known any more of the history up to here: what was shown of it may be there still.
  #forget(offset) {
    for (const range of this.#checked) range.from = Math.max(range.from, offset + 1);
  }

  // Messages of one sender right behind each other share a head.
  #group() {
    let last = null;
    for (const entry of this.#entries) {
      const follows = last?.plain && entry.plain && last.sender === entry.sender && last.life === entry.life
        && entry.offset <= last.offset + 1 && Math.abs((entry.time ?? 0) - (last.time ?? 0)) < TOGETHER;
      if (entry.follows !== follows) entry.line.classList.toggle("follows", Boolean(follows));
      entry.follows = follows;
      last = entry;
    }
  }

  // ---- what is missing ----

  #markGaps() {
    const wanted = new Map();
    let last = null;
    const want = (life, from, to, next) => from <= to && wanted.set(`${life}:${from}:${to}`, { life, from, to, next });
    for (const entry of this.#entries) {
      if (!entry.offset) continue;
      if (last?.life === entry.life) want(entry.life, last.offset + 1, entry.offset - 1, entry.line);
      last = entry;
    }
    // Behind the last one: missed, and nothing has come since.
    if (last?.life === this.#life) want(last.life, last.offset + 1, this.#position, null);
    for (const [key, line] of this.#gaps) {
      if (!wanted.has(key)) {
        line.remove();
        this.#gaps.delete(key);
      }
    }
    for (const [key, gap] of wanted) {
      const line = this.#gaps.get(key) ?? element("p", "note gap");
      this.#gaps.set(key, line);
      if (!line.isConnected || line.nextElementSibling !== gap.next) this.#list.insertBefore(line, gap.next);
      this.#describeGap(line, gap);
    }
  }

  #describeGap(line, { life, from, to }) {
    const isLost = life !== this.#life || this.#isChecked(from, to);
    const isLoading = this.#loading && this.#loading.from <= from && to <= this.#loading.to;
    const those = from === to ? `Message ${from}` : `Messages ${from} to ${to}`;
    const [are, them] = from === to ? ["is", "it"] : ["are", "them"];
    line.classList.toggle("lost", isLost);
    if (isLost) say(line, `${those} ${are} lost here: the room does not give ${them} any more.`);
    else if (isLoading) say(line, `Loading ${those.toLowerCase()}…`);
    else {
      const load = () => this.#read(from, to, PAGE);
      say(line, `${those} ${are} not shown here. ${this.#problem}`, `Load ${them}`, load);
    }
  }

  #describeTop() {
    const first = this.#entries.find((entry) => entry.offset);
    const current = !first || first.life === this.#life;
    const to = first && current ? first.offset - 1 : this.#position;
    if (this.#epoch === null) return say(this.#top, "");
    if (!current) return say(this.#top, "What was said before is not held any more.");
    if (this.#loading?.from === 1) return say(this.#top, "Loading earlier messages…");
    if (to < 1) return say(this.#top, first ? "This is the beginning of the room." : "No messages yet. Say something!");
    if (this.#isChecked(1, to)) {
      return say(this.#top, `The room does not hold ${first ? "earlier" : "its"} messages any more.`);
    }
    const read = () => this.#read(1, to, PAGE);
    if (this.#problem) return say(this.#top, this.#problem, "Try again", read);
    const isFull = this.#entries.length >= SHOWN_MAX_BACK;
    return say(this.#top, "Earlier messages are in the room's history.", isFull ? "" : "Load earlier", read);
  }

  // ---- scrolling ----

  #isAtEnd() {
    return this.#view.scrollHeight - this.#view.scrollTop - this.#view.clientHeight < 48;
  }

  #firstVisible() {
    const top = this.#view.scrollTop;
    return this.#entries.find(({ line }) => line.offsetTop + line.offsetHeight > top)?.line;
  }

  #hideJump() {
    this.#unread = 0;
    this.#stick = true;
    if (this.#jump === document.activeElement) this.#view.focus();
    this.#jump.hidden = true;
  }
}

const actions = new WeakMap(); // what the button of a line does at present

// A line's text and its button, unless it says so already.
function say(line, text, action = "", onClick = null) {
  actions.set(line, onClick);
  const saying = `${text}|${action}`;
  if (line.dataset.saying === saying) return;
  line.dataset.saying = saying;
  const hadFocus = line.contains(document.activeElement);
  line.textContent = text;
  if (action) line.append(" ", button(action, () => actions.get(line)()));
  if (hadFocus) (line.querySelector("button") ?? line.closest(".log")).focus();
}
