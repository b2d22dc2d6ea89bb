// The buttons that filter the rows of a report by what became of them.
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
