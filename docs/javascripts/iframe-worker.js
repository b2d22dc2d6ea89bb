// Search without a server. Browsers refuse workers to a page that was opened from disk; there the search runs in a hidden
// frame instead. (The theme would fetch such a stand-in from the network, under this name.)
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      const run = (source, done) => {
        const script = this.inner.document.createElement("script");
        script.src = source;
        script.onload = done;
        this.inner.document.body.append(script);
      };
      this.inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.inner.importScripts = (...sources) =>
        Promise.all(sources.map((source) => new Promise((done) => run(new URL(source, url), done))));
      run(url, () => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      });
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }));
    }
  };
}
