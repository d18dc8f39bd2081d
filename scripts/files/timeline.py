"""Draws the timelines of migrations as SVG: rounds and their rates, what was dirty, the blackout."""

from html import escape

WIDTH, PANEL, MARGIN, LABEL = 960, 120, 40, 190
COLOURS = {"round": "#4c78a8", "stop": "#e45756", "blackout": "#f8d7d8", "dirty": "#f2a900", "text": "#222", "axis": "#bbb"}


def draw(runs):
    """`runs` as scripts/bench makes them; those without a report are left out."""
    runs = [run for run in runs if run.get("report")]
    height = MARGIN + PANEL * len(runs) + MARGIN
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>', legend()]
    parts += [panel(run, MARGIN + PANEL * i) for i, run in enumerate(runs)]
    return "\n".join(parts + ["</svg>", ""])


def legend():
    items = [("round", "round (height: rate)"), ("stop", "stop"), ("blackout", "GPU calls blocked"), ("dirty", "dirty bytes after a round")]
    return "".join(f'<rect x="{LABEL + 190 * i}" y="12" width="12" height="12" fill="{COLOURS[key]}"/>'
                   f'<text x="{LABEL + 18 + 190 * i}" y="22" fill="{COLOURS["text"]}">{text}</text>'
                   for i, (key, text) in enumerate(items))


def size(count):
    for unit in ["B", "KiB", "MiB", "GiB"]:
        if count < 1024 or unit == "GiB":
            return f"{count:.3g} {unit}"
        count /= 1024


def panel(run, top):
    report = run["report"]
    rounds = (report.get("precopy") or {}).get("rounds") or []
    copied = rounds[-1]["start_s"] + rounds[-1]["took_s"] if rounds else 0
    blackout = report.get("gpu_blackout_s") or 0
    # Blocked calls begin with the stop; the end of the blackout is the end of what is drawn.
    end = max(copied + blackout, report.get("total_s") or 0, 1e-3)
    base, room = top + PANEL - 24, PANEL - 40
    x = lambda s: LABEL + (WIDTH - LABEL - 20) * s / end  # noqa: E731
    rates = [r["bytes"] / max(r["took_s"], 1e-6) for r in rounds]
    highest = max(rates + [1])
    most = max([r["dirty_bytes"] for r in rounds] + [1])
    out = [f'<text x="8" y="{top + 40}" fill="{COLOURS["text"]}" font-weight="bold">{escape(run["pattern"])}, {escape(run["mode"])}</text>',
           f'<text x="8" y="{top + 56}" fill="{COLOURS["text"]}">stop: {size(report["gpu_bytes"]["stop"])}</text>',
           f'<text x="8" y="{top + 72}" fill="{COLOURS["text"]}">blackout: {blackout * 1000:.0f} ms</text>',
           f'<text x="8" y="{top + 88}" fill="{COLOURS["text"]}">rate up to {highest / 1e9:.1f} GB/s</text>',
           f'<rect x="{x(copied):.1f}" y="{base - room}" width="{max(x(copied + blackout) - x(copied), 1):.1f}" height="{room}" fill="{COLOURS["blackout"]}"/>']
    for entry, rate in zip(rounds, rates):
        tall = room * rate / highest
        start, stop = x(entry["start_s"]), x(entry["start_s"] + entry["took_s"])
        out.append(f'<rect x="{start:.1f}" y="{base - tall:.1f}" width="{max(stop - start, 0.8):.1f}" height="{tall:.1f}" fill="{COLOURS["round"]}">'
                   f'<title>{size(entry["bytes"])} in {entry["took_s"] * 1000:.1f} ms</title></rect>')
    stopped = report.get("stop_s") or 0
    out.append(f'<rect x="{x(copied):.1f}" y="{base - 6}" width="{max(x(copied + stopped) - x(copied), 1):.1f}" height="6" fill="{COLOURS["stop"]}"/>')
    line = " ".join(f'{x(r["start_s"] + r["took_s"]):.1f},{base - room * r["dirty_bytes"] / most:.1f}' for r in rounds)
    if len(rounds) > 1:
        out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS["dirty"]}" stroke-width="1.5"/>')
    out += [f'<line x1="{LABEL}" x2="{WIDTH - 20}" y1="{base}" y2="{base}" stroke="{COLOURS["axis"]}"/>',
            f'<text x="{LABEL}" y="{base + 14}" fill="{COLOURS["text"]}">0</text>',
            f'<text x="{WIDTH - 20}" y="{base + 14}" text-anchor="end" fill="{COLOURS["text"]}">{end:.2f} s</text>']
    return "\n".join(out)
