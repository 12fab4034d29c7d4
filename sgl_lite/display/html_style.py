"""How the page of a run looks: one style sheet, light and dark, without a request to anywhere."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: light-dark(#f6f7f9, #14171c); --card: light-dark(#ffffff, #1c2027); --line: light-dark(#d9dde3, #343a45);
  --ink: light-dark(#1b1f24, #e4e7ec); --faint: light-dark(#667080, #98a2b3);
  --prompt: light-dark(#4a5361, #b3bcc9); --template: light-dark(#98a0ac, #6d7683);
  --cached: light-dark(#e3ecfb, #1e304d); --model: light-dark(#0b6b3a, #63d495);
  --written: light-dark(#e2f4e9, #17392a); --forced: light-dark(#7a3fb5, #c9a2f5);
  --by-force: light-dark(#efe5fa, #35264a); --rare: light-dark(#ff9d2e, #d9731a); --error: light-dark(#b3261e, #ff8a80);
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0; }
header p { margin: .2rem 0 1rem; color: var(--faint); }
.legend { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; margin: 0 0 1rem; padding: 0; list-style: none;
  font-size: .85rem; color: var(--faint); }
details.state { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin: .7rem 0;
  padding: .5rem .9rem .8rem; }
summary { cursor: pointer; font-weight: 600; }
summary small { font-weight: 400; color: var(--faint); margin-left: .6rem; }
.text { margin: .6rem 0; font: 14px/1.75 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.forks { border-left: 3px solid var(--line); padding-left: .9rem; margin: .5rem 0 .5rem .3rem; }
.program { color: var(--prompt); } .template { color: var(--template); }
.forced { color: var(--forced); background: var(--by-force); border-radius: .2rem; }
.cached { background: var(--cached); border-radius: .2rem; }
.model { color: var(--model); background: var(--written); border-radius: .2rem; }
.token { position: relative; cursor: default; border-radius: .15rem;
  background: color-mix(in srgb, var(--rare) calc(var(--surprise, 0) * 55%), transparent); }
.token.byforce { color: var(--forced); background: var(--by-force); }
.token:hover, .token:focus { outline: 1px solid currentColor; }
.token:hover::after, .token:focus::after { content: attr(data-tip); position: absolute; left: 0; top: 1.7em; z-index: 9;
  padding: .45rem .65rem; border-radius: .4rem; border: 1px solid var(--line); background: var(--card);
  color: var(--ink); white-space: pre; font-size: 12.5px; line-height: 1.45; box-shadow: 0 4px 14px #0004; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15rem .9rem .15rem 0; white-space: nowrap; }
th { color: var(--faint); font-weight: 500; } th:first-child, td:first-child, .left { text-align: left; }
td:first-child { font-weight: 600; }
.bar { display: inline-block; height: .55rem; border-radius: .2rem; background: var(--model); vertical-align: middle;
  margin-right: .4rem; }
.error { color: var(--error); font-weight: 600; white-space: pre-wrap; }
"""
