// The page works without this script; it adds dropping and pasting pictures, the selection, keys and deleting.
"use strict";
{
  const find = (what, inside = document) => inside.querySelector(what);
  const all = (what, inside = document) => [...inside.querySelectorAll(what)];
  document.documentElement.classList.add("scripted");

  // -- pictures as queries
  const upload = find("#upload"), input = find("#image"), ask = find("#ask");
  const send = () => {
    if (!input.files.length) return;
    const fields = new URLSearchParams(new FormData(ask));
    fields.delete("picture");
    find("[name=ask]", upload).value = fields.toString();
    upload.submit();
  };
  const take = (files) => {
    const picture = [...(files || [])].find((file) => file.type.startsWith("image/"));
    if (!picture) return;
    const box = new DataTransfer();
    box.items.add(picture);
    input.files = box.files;
    send();
  };
  input.addEventListener("change", send);
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  const sheet = find("#drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    sheet.hidden = !event.dataTransfer.types.includes("Files");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) sheet.hidden = true; });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    sheet.hidden = true;
    take(event.dataTransfer.files);
  });

  // Empty fields would only make the address of a search longer.
  ask.addEventListener("formdata", (event) => {
    for (const name of ["q", "since", "until", "where", "group", "rerank"]) {
      if (!event.formData.get(name)) event.formData.delete(name);
    }
  });

  // -- filters lie open where there is room for them; what narrows a search stands above its hits anyway
  find("#filters").open = matchMedia("(min-width: 46.01rem)").matches;

  // -- the selection
  const hits = all(".hit");
  const chosen = () => all(".pick :checked").map((box) => box.value);
  const selection = find("#selection");
  const count = () => { find("#chosen").textContent = `${chosen().length} selected`; };
  if (selection) {
    selection.addEventListener("change", count);
    selection.addEventListener("reset", () => setTimeout(count));
    count();
  }
  const erase = find("#delete");
  if (erase) erase.addEventListener("click", async () => {
    const ids = chosen();
    if (!ids.length || !confirm(`Erase ${ids.length} picture(s) from the gallery? The picture files stay.`)) return;
    const named = new URLSearchParams(ids.map((id) => ["id", id]));
    const answer = await fetch("/v1/pictures?" + named, { method: "DELETE" });
    if (answer.ok) { location.reload(); return; }
    alert((await answer.json()).error.message);
  });

  // -- keys
  const step = (key) => {
    const at = hits.indexOf(document.activeElement.closest?.(".hit"));
    if (at < 0) return 0;
    const row = hits.filter((hit) => hit.offsetTop === hits[0].offsetTop).length;
    return at + { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[key];
  };
  const letters = { m: ".more", n: ".not", w: ".why", x: "[name=id]" };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || find("#larger").open) return;
    if (typing) {
      if (event.target.id === "q" && event.key === "ArrowDown" && hits.length) {
        event.preventDefault();
        find(".open", hits[0]).focus();
      }
      return;
    }
    const hit = document.activeElement.closest?.(".hit");
    if (event.key === "/") { event.preventDefault(); find("#q").focus(); find("#q").select(); }
    else if (event.key.startsWith("Arrow") && hits.length) {
      const next = hits[step(event.key)];
      if (next) { event.preventDefault(); find(".open", next).focus(); }
    } else if (hit && event.key in letters) find(letters[event.key], hit)?.click();
  });
}
