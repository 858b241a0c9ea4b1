// Draws the charts with Vega-Lite, in the colours of page.css, and again when the reader changes from light to dark.
// "ast" has expressions interpreted: the page's policy forbids eval.
const style = () => getComputedStyle(document.documentElement);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 760px)");
const specs = JSON.parse(document.getElementById("charts").textContent);

function coloured(value, colours) {
  if (typeof value === "string") return value.startsWith("--") ? colours.getPropertyValue(value).trim() : value;
  if (Array.isArray(value)) return value.map((item) => coloured(item, colours));
  if (value === null || typeof value !== "object") return value;
  // Values are the database's: what looks like a colour there is none.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, key === "values" ? item : coloured(item, colours)]),
  );
}

function config(width) {
  return {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: "--quiet", titleColor: "--quiet", gridColor: "--grid", domainColor: "--line", tickColor: "--line",
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: width < 500 ? 130 : 260,
    },
    legend: {
      orient: "top", labelColor: "--ink", labelFontSize: 12, symbolType: "square", labelLimit: 170,
      columns: Math.max(2, Math.floor(width / 170)), offset: 8,
    },
  };
}

async function draw() {
  const colours = style();
  for (const [id, spec] of Object.entries(specs)) {
    const place = document.getElementById(id);
    const look = config(place.clientWidth);
    await vegaEmbed(place, coloured({ ...spec, config: look }, colours), {
      mode: "vega-lite", renderer: "svg", ast: true, actions: false, tooltip: { theme: dark.matches ? "dark" : "light" },
    });
  }
  document.body.dataset.drawn = dark.matches ? "dark" : "light";
}

dark.addEventListener("change", draw);
narrow.addEventListener("change", draw);
draw();
