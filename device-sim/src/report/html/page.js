// Numbers of the window under the pointer. Without this the page says the same, less conveniently.
"use strict";
{
  const figure = document.getElementById("timeline-plot");
  const readout = document.getElementById("readout");
  const { width_us, windows } = JSON.parse(document.getElementById("windows").textContent);
  const about = readout.textContent;
  const time = (micros) => micros < 1e6 ? `${Number((micros / 1e3).toPrecision(3))} ms` : `${Number((micros / 1e6).toPrecision(3))} s`;
  const tell = (index) => {
    const [sent, acknowledged, arrived, p99] = windows[index];
    const span = `${index * width_us / 1e6}–${(index + 1) * width_us / 1e6} s`;
    const latency = p99 === null ? "nothing due that arrived" : `99 % within ${time(p99)}`;
    return `${span}: ${sent} sent, ${acknowledged} acknowledged, ${arrived} arrived, ${latency}`;
  };
  for (const plot of figure.querySelectorAll("svg")) {
    const cursor = plot.querySelector(".cursor");
    const [left, right, end] = ["left", "right", "endUs"].map((name) => Number(plot.dataset[name]));
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * plot.viewBox.baseVal.width;
      const index = Math.floor((x - left) / (right - left) * end / width_us);
      const isInside = x >= left && x <= right && index in windows;
      cursor.classList.toggle("shown", isInside);
      readout.textContent = isInside ? tell(index) : about;
      if (isInside) {
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
      }
    });
    plot.addEventListener("pointerleave", () => {
      cursor.classList.remove("shown");
      readout.textContent = about;
    });
  }
}
