// A room on the page: its messages, its people, and what is being said into it.

import { ConnectionError } from "./client.js";
import { Log } from "./log.js";
import { People } from "./people.js";
import { button, codeWords, contentBlock, contentOf, element, nameOf, setText } from "./show.js";

export class RoomView {
  unread = 0;
  #client; #room; #log; #people; #isOwn;
  #unsent = [];                 // { text, line, state }: said here, and not seen in the room yet
  #find; #text; #state;
  #callbacks;

  #epoch = "";                  // of the room

  /** `callbacks`: own (see app.js), heard(view, publication) for what others said, leave(view). */
  constructor(client, name, callbacks) {
    this.name = name;
    this.root = document.getElementById("room-template").content.firstElementChild.cloneNode(true);
    this.#client = client;
    this.#callbacks = callbacks;
    this.#isOwn = (info) => callbacks.own.is(this.#epoch, info);
    this.#find = (selector) => this.root.querySelector(selector);
    this.#room = client.room(name);
    this.#room.listener = {
      subscribed: (event) => this.#subscribed(event),
      publication: (publication) => this.#heard(publication),
      join: (info) => this.#people.join(info),
      leave: (info) => this.#people.leave(info),
      interrupted: (event) => this.#interrupted(event),
      unsubscribed: (event) => this.#unsubscribed(event),
    };
    this.#nameParts();
    this.#log = new Log(this.root, { load: (what) => this.#room.history(what), isOwn: this.#isOwn });
    this.#people = new People(this.root, this.#room, this.#isOwn);
    this.#prepareComposer();
    this.join();
  }

  join() {
    this.#say("waiting", this.#client.state === "connected" ? "Joining…" : "Waiting for the connection…");
    this.#room.subscribe();
  }

  /** Out of the room, for good. */
  close() {
    this.#client.forget(this.#room);
    this.#people.away();
    this.root.remove();
  }

  showPeople(isOpen) {
    this.#people.show(isOpen);
  }

  focus() {
    this.#text.focus();
  }

  toEnd() {
    this.#log.toEnd();
  }

  #nameParts() {
    this.#find("h2").textContent = this.name;
    this.#find("h2").title = this.name;
    this.root.ariaLabel = `Room ${this.name}`;
    this.#find(".log").ariaLabel = `Messages in ${this.name}`;
    this.#find(".people").ariaLabel = `People in ${this.name}`;
    this.#find(".leave").ariaLabel = `Leave ${this.name}`;
    this.#find(".leave").addEventListener("click", () => this.#callbacks.leave(this));
    this.#state = this.#find(".room-state");
  }

  // ---- what the protocol says ----

  #subscribed({ position, before, recovered }) {
    let words = "You are in the room.";
    if (before && recovered) words = "Back in the room: whatever was missed is recovered.";
    else if (before) words = "Back in the room, but not all that was missed could be recovered.";
    this.#say("in", words);
    this.#epoch = position.epoch;
    this.#callbacks.own.add(this.#epoch);
    this.#log.arrived(position, recovered);
    this.#people.look(true);
    for (const item of [...this.#unsent]) if (item.state === "waiting") this.#publish(item);
  }

  #heard(publication) {
    const { info, time } = publication;
    // A server that does not tell when it was said leaves when it came.
    this.#log.add(publication, time ?? Date.now());
    if (this.#isOwn(info)) this.#settle(publication);
    else this.#callbacks.heard(this, publication);
  }

  #interrupted({ code, reason }) {
    this.#people.away();
    const isAlone = this.#client.state === "connected"; // else all rooms are out
    const words = isAlone ? `Out for a moment: ${codeWords(code, reason)}. Coming back…` : "Waiting for the connection…";
    this.#say("waiting", words);
  }

  #unsubscribed({ code, reason }) {
    this.#people.away();
    this.#say("out", `Not in the room: ${codeWords(code, reason)}.`, button("Rejoin", () => {
      this.join();
      this.focus();
    }));
  }

  #say(state, words, action) {
    this.root.dataset.state = state;
    const said = this.#state.querySelector(".words");
    setText(said, words);
    said.title = words;
    this.#state.querySelector("button")?.remove();
    if (action) this.#state.append(action);
  }

  // ---- what is said here ----

  #prepareComposer() {
    const form = this.#find(".composer");
    this.#text = form.querySelector("textarea");
    this.#text.ariaLabel = `Message to ${this.name}`;
    this.#text.placeholder = `Message to ${this.name}`;
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value.toWellFormed(); // half a surrogate pair could not be published as it is
      if (text.trim() === "") return;
      this.#text.value = "";
      this.#speak(text);
    });
  }

  #speak(text) {
    const line = element("div", "message own unsent");
    line.append(contentBlock({ kind: "text", text }), element("p", "fate"));
    line.querySelector(".fate").setAttribute("role", "status");
    this.#find(".unsent-list").append(line);
    const item = { text, line, state: "" };
    this.#unsent.push(item);
    this.#publish(item);
    this.#log.toEnd();
  }

  // waiting (not sent) -> pending (sent) -> acknowledged -> in the room, or failed, or nobody knows
  async #publish(item) {
    if (this.#room.state !== "subscribed") return this.#mark(item, "waiting", "Will be sent when you are in the room.");
    this.#mark(item, "pending", "Sending…");
    try {
      await this.#room.publish({ text: item.text });
      if (item.state === "pending") this.#mark(item, "acknowledged", "Sent");
    } catch (error) {
      if (item.state === "done") return; // the room showed it before the answer was lost
      if (!(error instanceof ConnectionError)) {
        this.#mark(item, "failed", `Not sent: ${codeWords(error.code, error.message)}.`);
      } else if (error.sent) {
        this.#mark(item, "unconfirmed", "Not confirmed: the connection was lost before the answer came.");
      } else {
        this.#publish(item);
      }
    }
  }

  #mark(item, state, words) {
    item.state = state;
    item.line.dataset.state = state;
    const fate = item.line.querySelector(".fate");
    fate.textContent = words;
    const again = { failed: "Try again", unconfirmed: "Send again" }[state];
    if (again) fate.append(" ", button(again, () => this.#again(item)));
    if (again || state === "waiting") fate.append(" ", button("Discard", () => this.#remove(item)));
  }

  #again(item) {
    this.#publish(item);
    this.focus();
  }

  #remove(item) {
    const hadFocus = item.line.contains(document.activeElement);
    item.state = "done";
    item.line.remove();
    this.#unsent = this.#unsent.filter((other) => other !== item);
    if (hadFocus) this.focus();
  }

  // One of ours is in the room. A connection's messages keep their order, so it is the first of that text that has
  // been sent.
  #settle({ data }) {
    const wasSent = ({ state }) => state !== "waiting" && state !== "failed";
    const item = this.#unsent.find((each) => each.text === data?.text && wasSent(each));
    if (item) this.#remove(item);
  }
}

/** What to read out of a publication of somebody else. */
export function spoken(publication) {
  const content = contentOf(publication);
  const text = content.kind === "text" ? content.text : "a message that is not text";
  return `${nameOf(publication.info)}: ${text.length > 200 ? `${text.slice(0, 200)}…` : text}`;
}
