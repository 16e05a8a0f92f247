// The larger view of a hit: its facts, why it was found, the other pictures of its passage, and the hits beside it.
"use strict";
{
  const find = (what, inside = document) => inside.querySelector(what);
  const all = (what, inside = document) => [...inside.querySelectorAll(what)];
  const make = (kind, facts) => Object.assign(document.createElement(kind), facts);
  const larger = find("#larger"), crop = find("#crop"), heat = find("#heat"), hits = all(".hit");
  let shown = 0, asksWhy = false;

  const answer = async (address) => {
    const reply = await fetch(address);
    const body = await reply.json();
    if (!reply.ok) throw new Error(body.error.message);
    return body;
  };

  // -- why: red places speak for the words, blue ones against
  const FOR = [214, 40, 30], AGAINST = [40, 90, 200];
  const draw = (rows, limit) => {
    heat.width = rows[0].length;
    heat.height = rows.length;
    const pixels = new ImageData(heat.width, heat.height);
    rows.flat().forEach((value, at) => {
      const strength = limit > 0 ? Math.min(1, Math.abs(value) / limit) ** 0.8 : 0;
      pixels.data.set([...(value > 0 ? FOR : AGAINST), 215 * strength], 4 * at);
    });
    heat.getContext("2d").putImageData(pixels, 0, 0);
    heat.hidden = false;
  };
  const peak = (maps) => Math.max(...maps.flat(2).map(Math.abs));
  const word = (text, weight, largest, show) => {
    const button = make("button", { type: "button", textContent: text });
    if (weight !== null) {
      button.title = `${weight < 0 ? "−" : "+"}${Math.abs(weight).toFixed(3)}`;
      button.classList.toggle("against", weight < 0);
      button.style.setProperty("--share", `${Math.round(70 * Math.abs(weight) / (largest || 1))}%`);
    }
    button.addEventListener("click", () => {
      for (const each of all("#words button")) each.setAttribute("aria-pressed", each === button);
      show();
    });
    return button;
  };
  const explain = async (hit) => {
    const link = find(".why", hit);
    find("#why").hidden = !asksWhy || !link;
    heat.hidden = true;
    for (const each of all("#acts .why")) each.setAttribute("aria-pressed", asksWhy);
    if (!asksWhy || !link) return;
    find("#words").replaceChildren();
    find("#told").textContent = "…";
    try {
      const found = await answer(link.href.replace("explanation.png", "explanation"));
      if (hits[shown] !== hit || !asksWhy) return;
      const weights = found.words.map((each) => Math.abs(each.weight));
      const one = peak(found.words.map((each) => each.relevance)), whole = peak([found.relevance]);
      const sentence = word("all words", null, 1, () => draw(found.relevance, whole));
      const words = found.words.map((each) =>
        word(each.word, each.weight, Math.max(...weights), () => draw(each.relevance, one)));
      find("#words").replaceChildren(sentence, ...words);
      const way = found.how === "occlusion" ? "covering them one by one" : "gradients";
      find("#told").textContent = `The words alone score ${found.score.toFixed(3)}. Places were found by ${way}.`;
      sentence.click();
    } catch (error) {
      find("#told").textContent = error.message;
    }
  };

  // -- the passage
  const passage = async (hit) => {
    find("#passage").hidden = true;
    if (!("track" in hit.dataset)) return;
    const { pictures } = await answer(`/v1/pictures/${hit.dataset.id}/track?most=60`).catch(() => ({ pictures: [] }));
    if (hits[shown] !== hit || pictures.length < 2) return;
    find("#strip").replaceChildren(...pictures.map(({ id }) => {
      const button = make("button", { type: "button" });
      button.setAttribute("aria-current", id === hit.dataset.id);
      button.append(make("img", { src: `/v1/pictures/${id}/thumbnail`, alt: "a picture of the same passage" }));
      button.addEventListener("click", () => {
        crop.src = `/v1/pictures/${id}/crop`;
        heat.hidden = true;
        for (const each of all("#strip button")) each.setAttribute("aria-current", each === button);
      });
      const item = make("li", {});
      item.append(button);
      return item;
    }));
    find("#passage").hidden = false;
  };

  // -- the view
  const open = (at, why = asksWhy) => {
    const hit = hits[at];
    if (!hit) return;
    shown = at;
    asksWhy = why;
    crop.src = find(".open", hit).href;
    find("#facts").replaceChildren(...all("dl > *", hit).map((each) => each.cloneNode(true)));
    const rank = make("span", { className: "rank", textContent: `${at + 1} of ${hits.length}` });
    find("#place").replaceChildren(rank, ...all(".score > *", hit).map((each) => each.cloneNode(true)));
    find("#acts").replaceChildren(...all(".acts a", hit).map((each) => each.cloneNode(true)));
    find("#acts .why")?.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(shown, !asksWhy);
    });
    find("#before").disabled = at === 0;
    find("#after").disabled = at === hits.length - 1;
    if (!larger.open) larger.showModal();
    explain(hit);
    passage(hit);
  };
  hits.forEach((hit, at) => {
    for (const [what, why] of [[".open", false], [".why", true]]) {
      find(what, hit)?.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        open(at, why);
      });
    }
  });
  find("#before").addEventListener("click", () => open(shown - 1));
  find("#after").addEventListener("click", () => open(shown + 1));
  larger.addEventListener("click", (event) => { if (event.target === larger) larger.close(); });
  larger.addEventListener("close", () => find(".open", hits[shown])?.focus());
  larger.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowRight") open(shown + 1);
    else if (event.key === "ArrowLeft") open(shown - 1);
    else if (event.key === "w") open(shown, !asksWhy);
    else if (event.key === "m") find("#acts .more").click();
    else if (event.key === "n") find("#acts .not").click();
    else if (event.key === "x") find("[name=id]", hits[shown]).click();
  });
}
