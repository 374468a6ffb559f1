// Keeps an open page true. Every act works without this file: here forms are only sent without
// leaving the page, and the page the server renders replaces what is shown.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const live = byId("live");
  const lost = byId("lost");
  const thresholds = [300, 120, 60, 30];
  let main = byId("main");
  let since = performance.now(); // when the shopper last turned to this page
  let delay = 2000; // the server's pace; null when nothing more will happen
  let etag = "";
  let next = 0;
  let flight = null;
  let misses = 0;
  let endsAt = null; // on performance.now(), so a wrong device clock does no harm
  let leftBefore = null;

  const say = (text, region = live) => {
    region.textContent = "";
    setTimeout(() => { region.textContent = text; }, 50); // an equal text again is heard again
  };

  // --- asking ---------------------------------------------------------------------------------

  const plan = (wait) => {
    clearTimeout(next);
    if (wait !== null) next = setTimeout(ask, wait);
  };

  const wake = () => {
    since = performance.now();
    etag = ""; // the countdown may have slept with the device: ask for the whole answer
    plan(50); // several of these events come together
  };

  const ask = async () => {
    flight?.abort(); // a socket that died in the background never answers
    const mine = (flight = new AbortController());
    const tooLong = setTimeout(() => mine.abort(), 8000);
    try {
      const watching = Math.floor((performance.now() - since) / 1000);
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(`${main.dataset.page}/status?watching=${watching}`, { headers, cache: "no-store", signal: mine.signal });
      if (answer.status === 200) {
        await learn(await answer.json(), mine.signal);
        etag = answer.headers.get("ETag") ?? "";
      } else if (answer.status !== 304) throw new Error(answer.status);
      if (misses > 1) say(live.dataset.found);
      misses = 0;
    } catch {
      if (flight !== mine) return; // a later question has taken over
      etag = "";
      if (++misses === 2) say(lost.textContent);
    } finally {
      clearTimeout(tooLong);
    }
    if (flight !== mine) return;
    lost.hidden = misses < 2;
    main.classList.remove("unsure");
    plan(misses ? Math.min(2000 * misses, 15000) : delay);
  };

  const learn = async (status, signal) => {
    if (status.fingerprint !== main.dataset.fingerprint) {
      const page = await fetch(main.dataset.page, { cache: "no-store", signal });
      if (!page.ok) throw new Error(page.status);
      show(await page.text());
    }
    delay = status.next_delay_ms;
    setEnd(status.seconds_left);
  };

  // --- showing --------------------------------------------------------------------------------

  const show = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) { // refused: too often, or a form out of date
      const notice = main.querySelector(".notice.told") ?? document.createElement("p");
      notice.className = "notice told";
      notice.textContent = page.querySelector(".plain")?.textContent ?? "";
      (main.querySelector(".due") ?? byId("heading")).after(notice);
      say(notice.textContent);
      return false;
    }
    const focused = main.contains(document.activeElement) ? document.activeElement.id : null;
    const unfolded = [...main.querySelectorAll("details[open]")].map((fold) => fold.id);
    const moved = fresh.dataset.state !== main.dataset.state;
    main.replaceWith(fresh);
    main = fresh;
    document.title = page.title;
    for (const id of unfolded) byId(id)?.setAttribute("open", "");
    dress();
    if (moved) say(main.dataset.say, main.dataset.state === "sorting" ? byId("alarm") : live);
    if ((moved && main.dataset.state === "paid") || (focused && !byId(focused))) byId("heading").focus();
    else if (focused) byId(focused).focus();
    return true;
  };

  const dress = () => {
    setEnd(main.dataset.secondsLeft ?? null);
    for (const time of main.querySelectorAll("time")) {
      const here = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
      time.title = time.textContent;
      if (here.resolvedOptions().timeZone !== "UTC") time.textContent = here.format(new Date(time.dateTime));
    }
  };

  const setEnd = (seconds) => {
    endsAt = seconds === null ? null : performance.now() + seconds * 1000;
    tick();
  };

  const tick = () => {
    const countdown = byId("countdown");
    if (endsAt === null || !countdown) return;
    const left = Math.max(0, Math.round((endsAt - performance.now()) / 1000));
    countdown.hidden = left > 300;
    const extend = byId("extend");
    if (extend) extend.hidden = left > 120;
    countdown.querySelector("[role=timer]").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    for (const mark of thresholds) {
      if (left <= mark && leftBefore !== null && leftBefore > mark) say(live.dataset[`left-${mark}`] );
    }
    if (left === 0 && leftBefore) plan(1000);
    leftBefore = left;
  };

  // --- acting ---------------------------------------------------------------------------------

  const copy = async (button) => {
    const label = button.dataset.label ?? (button.dataset.label = button.textContent);
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = live.dataset.copied;
      say(live.dataset.copied);
      clearTimeout(button.timer);
      button.timer = setTimeout(() => { button.textContent = label; }, 2000);
    } catch { // no permission, or not a secure address: the shopper's own keys can still copy
      getSelection().selectAllChildren(byId(button.dataset.shown));
      say(live.dataset.byHand);
    }
  };

  const act = async (form) => {
    const button = form.querySelector("button");
    if (button.ariaDisabled) return;
    button.ariaDisabled = "true";
    flight?.abort();
    flight = null;
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const html = await answer.text();
      if (show(html)) say(main.querySelector(".notice[role=status]")?.textContent ?? main.dataset.say);
    } catch {
      lost.hidden = false;
      say(lost.textContent);
    }
    button.ariaDisabled = null;
    wake();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-act]")) return;
    event.preventDefault();
    act(event.target);
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) main.classList.add("unsure"); // no code from memory before we asked
    wake();
  });
  addEventListener("focus", wake);
  addEventListener("online", wake);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wake(); });
  setInterval(tick, 1000);
  dress();
})();
