"""How the report of an evaluation looks, in the light and in the dark, and the one script it runs: the filter of its rows."""

from piza.visualize.draw import BOX_COLOR, WINDOW_COLORS

# One color a run, told apart by color-blind readers (Okabe & Ito), darker or brighter by the page's ground.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b5548c", "#b87f00", "#3b8fc4", "#555555", "#8a6d00")
_DARK = ("#5ab4f0", "#ff8a3d", "#35cfa0", "#e29ac4", "#f0b93a", "#9ad4fa", "#bbbbbb", "#d9c25a")

_VARIABLES = "".join(f"--c{i}:{color};" for i, color in enumerate(_LIGHT))
_DARK_VARIABLES = "".join(f"--c{i}:{color};" for i, color in enumerate(_DARK))

STYLE = f"""
:root{{color-scheme:light dark;--ink:#1b1b1b;--quiet:#595959;--paper:#fff;--card:#f4f4f2;--line:#d9d9d4;{_VARIABLES}}}
@media(prefers-color-scheme:dark){{:root{{--ink:#ececec;--quiet:#a8a8a8;--paper:#161616;--card:#212121;--line:#383838;
{_DARK_VARIABLES}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1rem;max-width:76rem;font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}}
h1{{font-size:1.6rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}}
h2{{font-size:1.25rem;margin:2.5rem 0 .25rem;line-height:1.3;overflow-wrap:anywhere}}
h3{{font-size:1.05rem;margin:2rem 0 0}}article h3{{font-size:1rem;margin:0 0 .75rem;overflow-wrap:anywhere}}
section>p{{margin:.1rem 0 1rem;color:var(--quiet)}}.quiet{{color:var(--quiet);font-size:.9em;font-weight:400}}
.scroll{{overflow-x:auto;margin:0 0 1.25rem}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}
th,td{{padding:.3rem 1.25rem .3rem 0;border-top:1px solid var(--line);vertical-align:top;text-align:right;white-space:nowrap}}
th:first-child{{text-align:left;white-space:normal;min-width:10rem;overflow-wrap:anywhere;font-weight:500}}
thead th,thead td{{border-top:0;color:var(--quiet);font-weight:400;font-size:.9rem;vertical-align:bottom}}
.bins{{width:100%;max-width:52rem}}.bins th:first-child{{width:15rem}}.bins .wide{{width:45%;min-width:6rem;vertical-align:middle}}
.more>*{{border-top:0}}.bar{{display:block;width:100%;height:.7rem}}.bar rect{{fill:var(--c)}}.bar .ground{{fill:var(--line)}}
.bar .range{{fill:var(--ink);opacity:.75}}
.swatch{{width:.8em;height:.8em;margin-right:.45em;vertical-align:-.05em}}.swatch rect{{fill:var(--c)}}
.charts{{display:flex;flex-wrap:wrap;gap:1rem}}.charts>*{{flex:1 1 18rem;max-width:34rem;min-width:0;margin:0}}
.plot{{display:block;width:100%;height:auto}}.plot text{{fill:var(--quiet);font-size:13px}}
.plot .end{{text-anchor:end}}.plot .middle{{text-anchor:middle}}.grid line{{stroke:var(--line)}}
.plot polyline{{fill:none;stroke:var(--c);stroke-width:2.5;stroke-linejoin:round}}.plot circle{{fill:var(--c)}}
.even{{stroke:var(--quiet);stroke-dasharray:5 5}}
ul.key{{list-style:none;padding:0;margin:.5rem 0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}}
ul.key li{{overflow-wrap:anywhere}}
article{{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:0 0 1rem}}
article[hidden],section[hidden]{{display:none}}
.figures{{display:flex;flex-wrap:wrap;gap:.75rem;align-items:flex-start}}
.figures figure{{margin:0;flex:1 1 13rem;min-width:0}}.figures figure:first-child{{flex:2 1 24rem}}
@media(max-width:30rem){{.figures figure:first-child{{flex-basis:100%}}article{{padding:.75rem}}}}
.figures svg{{display:block;width:100%;height:auto;max-height:70vh}}
.figures rect{{fill:none;vector-effect:non-scaling-stroke;stroke-width:2}}
.figures .halo{{stroke:#000;stroke-width:4.5;stroke-opacity:.75}}.figures .target{{stroke:#fff}}
.figures .answer{{stroke:var(--c,rgb{BOX_COLOR})}}
{"".join(f".w{i}{{stroke:rgb{color}}}" for i, color in enumerate(WINDOW_COLORS))}
{"".join(f".s{i}{{--c:var(--c{i})}}" for i in range(len(_LIGHT)))}
figcaption,.facts{{color:var(--quiet);font-size:.875rem;overflow-wrap:anywhere}}.facts{{margin:.5rem 0 0}}
.filters{{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0;position:sticky;top:0;background:var(--paper);padding:.5rem 0;z-index:1}}
.filters[hidden]{{display:none}}
button{{font:inherit;font-size:.9rem;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:1rem;
padding:.2rem .8rem;cursor:pointer}}button[aria-pressed=true]{{background:var(--ink);color:var(--paper);border-color:var(--ink)}}
"""

SCRIPT = """
const buttons = [...document.querySelectorAll("button[data-show]")];
for (const bar of document.querySelectorAll(".filters")) bar.hidden = false;
for (const button of buttons) button.addEventListener("click", () => {
  for (const other of buttons) other.setAttribute("aria-pressed", other === button);
  for (const section of document.querySelectorAll("section.cards")) {
    let shown = 0;
    for (const row of section.querySelectorAll("article")) {
      row.hidden = button.dataset.show !== "" && row.dataset.kind !== button.dataset.show;
      shown += !row.hidden;
    }
    section.hidden = shown === 0;
  }
});
"""
