// Handing over an image: by dropping, pasting or choosing a file.

import { make } from "./dom.js";

/** A button that opens the browser's file dialog. */
export const chooser = (words, take) => make("label", { class: "choose" }, words, make("input", {
  type: "file", accept: "image/*,.tif,.tiff,.jp2,.ppm,.bmp", class: "hidden",
  onchange: (event) => { if (event.target.files[0]) take(event.target.files[0]); },
}));

/** Take files that are dropped onto `root` or pasted into the page. */
export const acceptFiles = (root, take, notice) => {
  root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
  root.addEventListener("dragleave", (event) => { if (!root.contains(event.relatedTarget)) root.classList.remove("over"); });
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("over");
    const files = event.dataTransfer.files;
    if (files.length > 1) return notice("One image at a time, please.");
    if (!files.length) return notice("That was no file; drop an image from your computer.");
    take(files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) take(file, file.name || "pasted image");
  });
};
