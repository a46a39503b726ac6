// The players of a session. What a server has written is drawn by a terminal
// that answers nothing, and is never taken for anything but text.
"use strict";
{
  const box = document.querySelector("#player");
  const terminals = box ? [...box.querySelectorAll(".terminal")] : [];
  const players = new Map();

  // live follows a terminal from its first byte: the gate sends the header, all
  // that was shown so far, and what is shown from then on.
  function live(url) {
    return ({ dispatch }) => {
      let source, began, header;
      return {
        play() {
          if (source) return true;
          dispatch("play");
          source = new EventSource(url + "/live");
          source.addEventListener("header", (e) => {
            header = JSON.parse(e.data);
            began = performance.now();
            dispatch("reset", { size: { cols: header.width, rows: header.height } });
            dispatch("playing");
          });
          source.addEventListener("frame", (e) => {
            const [, kind, data] = JSON.parse(e.data);
            if (kind === "o") dispatch("output", data);
            if (kind === "r") {
              const [cols, rows] = data.split("x").map(Number);
              dispatch("resize", { cols, rows });
            }
          });
          source.addEventListener("end", (e) => {
            source.close();
            const why = JSON.parse(e.data);
            dispatch("ended", { message: why.sentence || why.detail || "The session has ended." });
          });
          return true;
        },
        stop() { if (source) source.close(); },
        getCurrentTime() { return began === undefined ? undefined : (performance.now() - began) / 1000; },
      };
    };
  }

  const look = { fit: "width", theme: "asciinema", terminalFontFamily: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" };

  async function start(el) {
    if (players.has(el)) return;
    const p = { lines: [], at: 0 };
    players.set(el, p);
    if (box.dataset.live === "true") {
      p.player = AsciinemaPlayer.create(live(el.dataset.cast), el, { ...look, autoPlay: true });
      return;
    }
    // Fetched once: it is played, searched, and written down as one look.
    const answer = await fetch(el.dataset.cast);
    const text = await answer.text();
    if (!answer.ok) {
      el.textContent = JSON.parse(text).detail;
      return;
    }
    const [head, ...rest] = text.trimEnd().split("\n");
    p.header = JSON.parse(head);
    for (const line of rest) {
      try { p.lines.push(JSON.parse(line)); } catch { break; } // where a recording was cut off
    }
    p.lines.push([(p.lines.at(-1)?.[0] ?? 0) + 1, "o", ""]); // a moment to read the end
    const whole = [head, ...p.lines.map((l) => JSON.stringify(l))].join("\n");
    p.player = AsciinemaPlayer.create({ data: whole }, el, { ...look, idleTimeLimit: 2, preload: true, controls: true, poster: "npt:" + p.lines.at(-1)[0] });
    // What is sought before the player is ready is forgotten by it.
    p.ready = new Promise((ready) => {
      p.player.addEventListener("ready", () => setTimeout(ready, 100));
      setTimeout(ready, 2000);
    });
  }

  // Pauses are shortened when played: a time of the recording lies earlier then.
  function played(p, time) {
    let shown = 0, last = 0;
    for (const [t] of p.lines) {
      if (t > time) break;
      shown += Math.min(t - last, 2);
      last = t;
    }
    return shown + 0.1; // so that what was drawn at that time is drawn
  }

  // What is drawn is not searched letter by letter: escape sequences are left
  // out, and a line that is drawn piece by piece is found in its pieces.
  const sequences = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f]/g;

  function find(el, what) {
    const p = players.get(el);
    if (!p?.ready || !what) return "";
    let text = "";
    const starts = [];
    for (const [t, kind, data] of p.lines) {
      if (kind !== "o") continue;
      starts.push([text.length, t]);
      text += data.replace(sequences, "");
    }
    text = text.toLowerCase();
    what = what.toLowerCase();
    let where = p.found === what ? text.indexOf(what, p.at + 1) : text.indexOf(what);
    if (where < 0) where = text.indexOf(what);
    if (where < 0) return "not found";
    p.found = what;
    p.at = where;
    const time = starts.findLast(([from]) => from <= where)[1];
    p.ready.then(() => p.player.seek(played(p, time)));
    return "at " + Math.floor(time) + " s";
  }

  function shown() { return terminals.find((el) => !el.hidden); }

  function choose(channel) {
    for (const el of terminals) el.hidden = !el.dataset.cast.endsWith("/" + channel);
    if (shown()) start(shown());
  }

  for (const b of document.querySelectorAll("[data-terminal]")) b.addEventListener("click", () => choose(b.dataset.terminal));
  for (const b of document.querySelectorAll(".seek")) {
    b.addEventListener("click", async () => {
      if (terminals.some((el) => el.dataset.cast.endsWith("/" + b.dataset.channel))) choose(b.dataset.channel);
      const p = players.get(shown());
      if (!p?.ready) return;
      await p.ready;
      await p.player.seek(played(p, Math.max(0, b.dataset.at / 1000 - p.header.timestamp)));
      box.scrollIntoView({ block: "nearest" });
    });
  }
  box?.querySelector(".find")?.addEventListener("submit", (e) => {
    e.preventDefault();
    e.target.querySelector("output").textContent = find(shown(), e.target.find.value);
  });
  if (shown() && typeof AsciinemaPlayer === "object") start(shown());
}
