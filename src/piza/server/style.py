"""How the page of `piza serve` looks, in the light and in the dark, wide and narrow. Only fonts that are there are used."""

STYLE = """
.gradio-container{--p-ink:#1b1b1b;--p-quiet:#595959;--p-card:#f4f4f2;--p-line:#d9d9d4;--p-paper:#fff;--p-accent:#b84f00;
--p-bar:#d55e00;--p-warm:#fdf1e7}
.dark .gradio-container,.gradio-container.dark,.dark{--p-ink:#ececec;--p-quiet:#a8a8a8;--p-card:#212121;--p-line:#383838;
--p-paper:#161616;--p-accent:#ff8a3d;--p-bar:#ff8a3d;--p-warm:#2e2218}
.gradio-container>main,.gradio-container main.fillable{max-width:92rem!important;margin:0 auto;padding:1rem 1.25rem 2rem!important}
#piza-head,#piza-kept,#piza-stage,#piza-head .html-container,#piza-kept .html-container{padding:0!important;background:none!important;overflow:visible!important;border:0!important}
#piza-head header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.1rem 1rem;margin:0 0 .25rem}
#piza-head h1{font-size:1.7rem;line-height:1.2;font-weight:700;letter-spacing:-.01em;margin:0;color:var(--p-ink)}
#piza-head p{margin:0;color:var(--p-quiet)}
#piza-kept p{margin:0;color:var(--p-quiet);font-size:.85rem}
#piza-body{gap:1.5rem;align-items:flex-start}
#piza-ask{max-width:24rem}
#piza-stage .html-container{padding:0}
.stage{color:var(--p-ink);font-size:.95rem;line-height:1.5;min-height:20rem;padding:0 0 1.5rem}
.stage p{margin:0}.stage .quiet{color:var(--p-quiet)}.stage figure{margin:0;min-width:0}
.stage .hidden{position:absolute;width:1px;height:1px;opacity:0;pointer-events:none}
.stage .notice{background:var(--p-warm);border-left:4px solid var(--p-bar);border-radius:6px;padding:.6rem .9rem;margin:0 0 1rem;
overflow-wrap:anywhere}
.stage .drop{border:2px dashed var(--p-line);border-radius:14px;padding:clamp(2.5rem,9vh,6rem) 1rem;text-align:center;display:grid;gap:.9rem;
justify-items:center;transition:border-color .15s,background .15s}
.stage .drop>p:first-child{font-size:1.15rem}.stage .drop .quiet{font-size:.85rem}
.stage.over .drop,.stage.over figure.alone,.stage.over .views{border-color:var(--p-bar);background:var(--p-warm)}
.stage .choose,.stage button{font:inherit;cursor:pointer;color:var(--p-ink);background:var(--p-card);border:1px solid var(--p-line);
border-radius:8px}
.stage .choose{display:inline-block;padding:.4rem .9rem;font-weight:600}
.stage .drop .choose{background:var(--p-ink);color:var(--p-paper);border-color:var(--p-ink)}
.stage button.small,.stage a.small{padding:.15rem .7rem;font-size:.85rem;border-radius:8px;text-decoration:none}
.stage a.small{display:inline-block;color:var(--p-ink);background:var(--p-card);border:1px solid var(--p-line)}
.stage .choose:hover,.stage button:hover,.stage a.small:hover{border-color:var(--p-quiet)}
.stage button:disabled{opacity:.6;cursor:default}
.stage :focus-visible,.stage .choose:focus-within{outline:2px solid var(--p-bar);outline-offset:2px}
.stage.busy .drop,.stage.busy .choose{opacity:.6}
.stage .begin{margin:1.5rem 0 .6rem}
.stage .examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,15rem));gap:.9rem}
.stage .example{padding:0;overflow:hidden;text-align:left;display:grid;grid-template-rows:1fr auto}
.stage .example img{display:block;width:100%;aspect-ratio:16/10;object-fit:cover;background:var(--p-line);color:transparent}
.stage .example span{padding:.3rem .7rem;font-size:.85rem;color:var(--p-quiet)}
.stage .bar{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .9rem;margin:0 0 .9rem}
.stage .bar .name{font-weight:600;overflow-wrap:anywhere}.stage .bar .choose{margin-left:auto;padding:.15rem .8rem;font-size:.85rem}
.stage svg{display:block;width:100%;height:auto;border-radius:8px;background:var(--p-card)}
.stage svg text{font-family:system-ui,sans-serif}
.stage figure.alone svg{max-height:70vh}
.stage figure.alone,.stage .views{border-radius:8px}
.stage figure.searching svg{animation:piza-breathe 1.6s ease-in-out infinite}
@keyframes piza-breathe{50%{opacity:.55}}
.stage figcaption{color:var(--p-quiet);font-size:.85rem;margin:0 0 .45rem}
.stage figcaption>*{display:block}.stage figcaption strong{color:var(--p-ink);font-weight:600}
.stage figure.alone figcaption{font-size:1rem;margin:.45rem 0 0}
.stage .tabs{display:flex;gap:.4rem;overflow-x:auto;margin:0 0 .9rem;padding:2px}
.stage .tabs button{flex:0 1 18rem;min-width:7rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;padding:.3rem .8rem;font-size:.9rem}
.stage .tabs button[aria-pressed=true]{background:var(--p-ink);color:var(--p-paper);border-color:var(--p-ink)}
.stage .answer{background:var(--p-card);border-radius:10px;padding:.75rem 1rem;margin:0 0 1rem}
.stage .answer .sentence{font-weight:600;font-size:1.05rem;overflow-wrap:anywhere}
.stage .answer dl{display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin:.4rem 0 0}
.stage dt{color:var(--p-quiet);font-size:.8rem}.stage dd{margin:0;display:flex;align-items:center;gap:.6rem}
.stage code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.95rem;background:none;border:0;padding:0;color:var(--p-ink);user-select:all}
.stage .score{font-variant-numeric:tabular-nums;color:var(--p-accent);font-size:1.05rem}
.stage .views{display:grid;grid-template-columns:minmax(0,1.65fr) minmax(0,1fr);gap:1rem;align-items:start}
.stage .views.wide{grid-template-columns:minmax(0,1fr)}
.stage .views.wide .seen{max-width:30rem}
.stage .seen{display:grid}.stage .seen svg{grid-area:1/1;visibility:hidden;max-height:75vh}.stage .seen svg.now{visibility:visible}
.stage .steps{display:flex;align-items:flex-start;gap:1rem;margin:1rem 0 0}
.stage .play{min-width:4.2rem;padding:.3rem .7rem!important}
.stage .track{flex:1;min-width:0}
.stage input[type=range]{display:block;width:100%;accent-color:var(--p-bar);margin:.35rem 0 .2rem;cursor:pointer}
.stage .ticks{display:flex;justify-content:space-between;gap:.25rem}
.stage .ticks button{white-space:nowrap;background:none;border:0;padding:.1rem .2rem;font-size:.85rem;color:var(--p-quiet);border-radius:4px}
.stage .ticks button::before{content:"";display:inline-block;width:.7em;height:.7em;border-radius:2px;background:var(--dot);margin-right:.4em;
box-shadow:0 0 0 1px #0005}
.stage .ticks button[aria-pressed=true]{color:var(--p-ink);font-weight:600}
.stage .facts{margin:1rem 0 0;display:grid;gap:.6rem;align-content:start}
.stage .meters{display:flex;flex-wrap:wrap;gap:.4rem 2.5rem;margin:0}
.stage .bar-of{display:inline-block;flex:none;width:5rem;height:.5rem;border-radius:.25rem;vertical-align:.05em;margin-right:.6em;
background:linear-gradient(var(--p-quiet) 0 0) 0/calc(100%*var(--part)) 100% no-repeat,var(--p-line)}
.stage .meters .bar-of{margin:0}
.stage tr.best .bar-of{background:linear-gradient(var(--p-bar) 0 0) 0/calc(100%*var(--part)) 100% no-repeat,var(--p-line)}
.stage .scroll{overflow-x:auto}
.stage table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
.stage caption{text-align:left;color:var(--p-quiet);font-size:.85rem;padding:0 0 .2rem}
.stage th,.stage td{padding:.2rem 1.4rem .2rem 0;text-align:right;border:0;border-top:1px solid var(--p-line);white-space:nowrap;font-weight:400}
.stage th{color:var(--p-quiet);border-top:0;font-size:.8rem}.stage th:first-child,.stage td:first-child{text-align:left}
.stage tr.best td{font-weight:600}
.stage .downloads{display:flex;flex-wrap:wrap;gap:.5rem;margin:.8rem 0 0}
.stage .answer button,.stage .answer a.small{background:var(--p-paper)}
.stage .nothing{color:var(--p-accent)}
.stage .film:not(:empty){margin:.9rem 0 0;display:grid;justify-items:start}.stage .film img{max-width:100%;border-radius:8px}
@media(max-width:46rem){
.gradio-container>main,.gradio-container main.fillable{padding:.75rem .75rem 1.5rem!important}
#piza-ask{max-width:none}#piza-body{gap:1rem}
.stage .views{grid-template-columns:minmax(0,1fr)}
.stage .answer dl{gap:.4rem 1.25rem}.stage th,.stage td{padding-right:.8rem}
.stage td .bar-of{display:none}.stage code{font-size:.85rem}.stage .ticks span{display:none}
}
@media(prefers-reduced-motion:reduce){.stage figure.searching svg{animation:none;opacity:.7}}
"""
