export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
  <path d="M16 29C6 25 3 16 5 4c12-1 22 3 22 14 0 6-4 10-11 11Z" fill="#2f7d5b"/>
  <path d="M8 8c5 5 8 11 9 20" fill="none" stroke="#d9f2e3" stroke-width="2" stroke-linecap="round"/>
</svg>`

export const style = `
:root {
  color-scheme: light dark;
  --paper: #f7f5f0; --sheet: #ffffff; --ink: #22302a; --soft: #5a6a62; --line: #dfddd4; --edge: #7d857f;
  --leaf: #23694b; --on-leaf: #ffffff; --wash: #e6f1ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141a17; --sheet: #1d2521; --ink: #e8eee9; --soft: #a3b2a9; --line: #33403a; --edge: #7b8a82;
    --leaf: #7fd0a6; --on-leaf: #10241a; --wash: #20362b;
  }
}
* { box-sizing: border-box; }
html { scrollbar-gutter: stable; }
body {
  margin: 0 auto; max-width: 46rem; min-height: 100vh; padding: 0 1.25rem; display: flex; flex-direction: column;
  background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 2.5rem 0 1rem; font: 600 clamp(1.9rem, 6vw, 2.6rem)/1.15 Georgia, "Times New Roman", serif; }
h2 { margin: 2rem 0 .75rem; font: 600 1.2rem/1.3 Georgia, "Times New Roman", serif; }
a { color: var(--leaf); text-underline-offset: .2em; }
:focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px; }
.skip, .unseen { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--sheet); }

header { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.5rem; padding: 1rem 0; border-bottom: 1px solid var(--line); }
header a { display: inline-flex; align-items: center; min-height: 2.75rem; color: inherit; text-decoration: none; }
header nav { display: flex; gap: 1.25rem; }
header a:not(.brand):hover { color: var(--leaf); }
header a[aria-current] { color: var(--leaf); box-shadow: inset 0 -2px; }
.brand { gap: .6rem; font: 600 1.2rem Georgia, "Times New Roman", serif; }
.account { display: flex; flex: 1; min-width: 0; align-items: center; justify-content: flex-end; gap: .75rem; }
.account span { overflow: hidden; color: var(--soft); text-overflow: ellipsis; white-space: nowrap; }
.badge { margin-left: .4rem; min-width: 1.5rem; padding: 0 .4rem; border-radius: 1rem; background: var(--leaf); color: var(--on-leaf); font-size: .85rem; text-align: center; }

main { flex: 1; }
.lead { font-size: 1.15rem; color: var(--soft); }
.notice { padding: .9rem 1.1rem; border-radius: .75rem; background: var(--wash); }
.problem { grid-column: 1 / -1; margin: 0; padding-left: .75rem; border-left: 4px solid var(--leaf); font-weight: 600; }
.count b { font: 600 4rem/1.2 Georgia, "Times New Roman", serif; color: var(--leaf); }
.empty, .hint { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: 1rem; margin: 1.5rem 0; padding: 0; list-style: none; }
.products { grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); }
.card { display: flex; flex-direction: column; padding: 1.1rem 1.25rem; border: 1px solid var(--line); border-radius: .9rem; background: var(--sheet); color: inherit; text-decoration: none; }
a.card:hover { border-color: var(--leaf); }
.card h2 { margin: 0; }
.card p { flex: 1; margin: .35rem 0 0; color: var(--soft); }
.card form { margin-top: 1rem; }
.list { margin: 1rem 0; padding: 0; list-style: none; border-top: 1px solid var(--line); }
.list li { display: flex; align-items: center; justify-content: space-between; gap: 1rem; padding: .35rem 0; border-bottom: 1px solid var(--line); }

button, .button {
  display: inline-flex; align-items: center; justify-content: center; min-height: 2.75rem; padding: .4rem 1.2rem;
  border: 1px solid var(--leaf); border-radius: .7rem; background: var(--leaf); color: var(--on-leaf);
  flex: none; font: inherit; font-weight: 600; text-decoration: none; white-space: nowrap; cursor: pointer;
}
button:hover, .button:hover { filter: brightness(1.08); }
button.quiet { padding: .4rem .9rem; border-color: var(--edge); background: transparent; color: inherit; font-weight: 400; }
button.quiet:hover { border-color: var(--leaf); color: var(--leaf); filter: none; }
.row { display: grid; grid-template-columns: 1fr auto; gap: .5rem .75rem; margin: 1.5rem 0; }
.row label { grid-column: 1 / -1; font-weight: 600; }
input { min-width: 0; min-height: 2.75rem; padding: .4rem .9rem; border: 1px solid var(--edge); border-radius: .7rem; background: var(--sheet); color: inherit; font: inherit; }

footer { margin: 3rem 0 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; }
@media (max-width: 30rem) {
  header { gap: .25rem .75rem; }
  .account { gap: .5rem; }
  .brand { gap: .4rem; font-size: 1.1rem; }
  button.quiet { padding: .4rem .7rem; }
  header nav { order: 3; width: 100%; justify-content: space-between; }
  .hello { display: none; }
  .row { grid-template-columns: 1fr; }
}
`
