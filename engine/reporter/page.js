"use strict";
// Draws the figures in the colours that the reader prefers, and again when that changes.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const [light, dark] = read("colours");
const inDark = new Map(light.map((colour, at) => [colour, dark[at]]));
const prefers = window.matchMedia("(prefers-color-scheme: dark)");

// Colours are what lies under a key that ends in "color"; a name that looks like one stays.
function recoloured(item, isColour) {
  if (typeof item === "string") return isColour ? inDark.get(item) ?? item : item;
  if (Array.isArray(item)) {
    const [key, data] = item;
    if (item.length === 2 && typeof key === "string" && typeof data === "object") return [key, recoloured(data, key.endsWith("color"))];
    return item.map((entry) => recoloured(entry, isColour));
  }
  if (item === null || typeof item !== "object") return item;
  return Object.fromEntries(Object.entries(item).map(([key, entry]) => [key, recoloured(entry, isColour || key.endsWith("color"))]));
}

async function draw() {
  const items = read("items");
  document.querySelectorAll(".drawn").forEach((place) => { place.replaceChildren(); });
  for (const item of prefers.matches ? recoloured(items, false) : items) await Bokeh.embed.embed_item(item);
  document.body.dataset.drawn = prefers.matches ? "dark" : "light";
}
prefers.addEventListener("change", draw);
draw();
