// Who is in a room: names where the server gives them, else the number, else nothing.

import { avatar, counted, element, nameOf, setText } from "./show.js";

const ROWS_MAX = 200;
const LOOK_AGAIN = 30_000;      // ms; joins and leaves come by themselves, numbers do not
const REFUSALS_MAX = 12;        // in a row; the server closes a connection at 20

let turn = Promise.resolve();   // one room asks at a time, so that refusals are counted before the next one asks
let refusals = 0;

export class People {
  #panel; #list; #note; #news; #count;
  #room; #isOwn;
  #here = new Map();            // info by client id
  #mode = "unknown";            // "list", "count", "none" or "unasked"
  #number = 0;                  // of connections, in mode "count"
  #refusedAt = 0;               // how many they were when the list was refused
  #changes = null;              // what happened while a list was on its way
  #timer = 0;
  #drawn = false;

  constructor(root, room, isOwn) {
    this.#panel = root.querySelector(".people");
    this.#list = root.querySelector(".people ul");
    this.#note = root.querySelector(".people .note");
    this.#news = root.querySelector(".people .news");
    this.#count = root.querySelector(".people-button");
    this.#room = room;
    this.#isOwn = isOwn;
    this.#count.addEventListener("click", () => this.show(this.#panel.hidden));
    this.#draw();
  }

  show(isOpen) {
    this.#panel.hidden = !isOpen;
    this.#count.ariaExpanded = String(isOpen);
  }

  /** In the room, anew or still: asks who is here, now and from time to time. */
  look(isNew = false) {
    clearTimeout(this.#timer);
    turn = turn.then(async () => {
      if (this.#room.state !== "subscribed") return;
      if (isNew || !document.hidden) await this.#ask(isNew);
      if (this.#mode === "none" || this.#mode === "unasked") return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.look(), LOOK_AGAIN * (1 + Math.random()));
    });
  }

  /** Not in the room: what is shown is of the past. */
  away() {
    refusals = 0; // they are counted by connection
    clearTimeout(this.#timer);
    this.#panel.classList.add("stale");
    setText(this.#news, "");
  }

  join(info) {
    this.#change((here) => here.set(info.client, info), 1);
    if (this.#mode === "list" && !this.#isOwn(info)) setText(this.#news, `${nameOf(info)} came`);
  }

  leave(info) {
    this.#change((here) => here.delete(info.client), -1);
    if (this.#mode === "list" && !this.#isOwn(info)) setText(this.#news, `${nameOf(info)} left`);
  }

  #change(apply, difference) {
    this.#changes?.push(apply);
    apply(this.#here);
    this.#number = Math.max(0, this.#number + difference);
    this.#schedule();
  }

  async #ask(isNew) {
    try {
      const wantsNames = isNew || this.#mode !== "count" || this.#number < this.#refusedAt;
      if (refusals >= REFUSALS_MAX) this.#mode = "unasked";
      else if (!wantsNames || !await isGiven(this.#lookForNames())) {
        const isCounted = await isGiven(this.#lookForNumber());
        this.#mode = isCounted ? "count" : "none";
        if (wantsNames) this.#refusedAt = this.#number;
      }
      this.#panel.classList.remove("stale");
    } catch {
      // The connection, or a server that is busy: the next look tells.
    }
    this.#schedule();
  }

  async #lookForNames() {
    this.#changes = [];
    try {
      const here = new Map(Object.entries(await this.#room.presence()));
      // The list and the changes may have crossed on their way.
      for (const apply of this.#changes) apply(here);
      this.#here = here;
      this.#mode = "list";
    } finally {
      this.#changes = null;
    }
  }

  async #lookForNumber() {
    this.#number = (await this.#room.presenceStats()).clients;
  }

  // ---- on the screen, at most once a frame ----

  #schedule() {
    if (this.#drawn) requestAnimationFrame(() => this.#draw());
    this.#drawn = false;
  }

  #draw() {
    this.#drawn = true;
    const number = { list: this.#here.size, count: this.#number }[this.#mode];
    const known = number !== undefined;
    setText(this.#count.querySelector(".count"), known ? number.toLocaleString() : "–");
    this.#count.ariaLabel = known ? `${counted(number, "connection")} here: who?` : "Who is here?";
    setText(this.#note, {
      unknown: "…", list: "", none: "This room does not show who is here.",
      unasked: "Not asked: too many rooms do not show who is here.",
      count: `${counted(this.#number, "connection")}. This room does not list them.`,
    }[this.#mode]);
    this.#list.hidden = this.#mode !== "list";
    if (this.#mode !== "list") return this.#list.replaceChildren();
    const rows = this.#rows();
    this.#list.replaceChildren(...rows.slice(0, ROWS_MAX).map(({ info, own, times }) => {
      const row = element("li", own ? "own" : "");
      const name = element("bdi", "who", nameOf(info));
      name.title = info.user ? nameOf(info) : `connection ${info.client}`;
      row.append(avatar(info), name);
      if (own) row.append(element("span", "times", "you"));
      else if (times > 1) row.append(element("span", "times", `×${times}`));
      return row;
    }));
    const more = rows.length - ROWS_MAX;
    if (more > 0) this.#list.append(element("li", "more", `and ${more.toLocaleString()} more`));
  }

  // One row for each name and for each connection without one; this page first.
  #rows() {
    const rows = new Map();
    for (const info of this.#here.values()) {
      const own = this.#isOwn(info);
      const key = own ? "own" : info.user ? `name ${info.user}` : `client ${info.client}`;
      const row = rows.get(key);
      if (row) row.times++;
      else rows.set(key, { info, own, times: 1 });
    }
    return [...rows.values()].sort((a, b) => b.own - a.own || nameOf(a.info).localeCompare(nameOf(b.info)));
  }
}

// Whether the server gives what is asked for. Throws what says nothing about that.
async function isGiven(answer) {
  try {
    await answer;
    refusals = 0;
    return true;
  } catch (error) {
    if (error.code === undefined || error.temporary) throw error;
    refusals++;
    return false;
  }
}
