// The event stream of a page, paused while the page is hidden: a browser opens at most six
// connections to a server, and background tabs would use them up.
(() => {
  "use strict";
  const streams = new Set();

  class Stream extends EventTarget {
    #names = new Set();
    #source = null;

    constructor(url) {
      super();
      this.url = url;
      streams.add(this);
      if (!document.hidden) this.resume();
    }

    get readyState() {
      return this.#source ? this.#source.readyState : EventSource.CLOSED;
    }

    addEventListener(name, ...rest) {
      super.addEventListener(name, ...rest);
      if (this.#names.has(name)) return;
      this.#names.add(name);
      this.#source?.addEventListener(name, this.#pass);
    }

    #pass = ({ type, data, lastEventId }) => {
      this.dispatchEvent(new MessageEvent(type, { data, lastEventId }));
    };

    resume() {
      if (this.#source) return;
      this.#source = new EventSource(this.url);
      for (const name of this.#names) this.#source.addEventListener(name, this.#pass);
      this.#source.onopen = (event) => this.onopen?.(event);
      this.#source.onerror = (event) => this.onerror?.(event);
    }

    pause() {
      this.#source?.close();
      this.#source = null;
    }

    close() {
      this.pause();
      streams.delete(this);
    }
  }

  htmx.createEventSource = (url) => new Stream(url);

  document.addEventListener("visibilitychange", () => {
    for (const one of streams) document.hidden ? one.pause() : one.resume();
    // Load what changed meanwhile.
    if (!document.hidden) htmx.trigger(document.body, "changed");
  });
})();
