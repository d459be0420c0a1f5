package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math"
	"os"
	"slices"
	"strings"
)

// curve is the settings of one engine: latency in ms and recall@10.
type curve struct {
	name   string
	points [][2]float64
}

// plot writes latency against recall@10, of the search lines of this run and of the files of other engines, as SVG.
func plot(svg string, own []record, peers []string) error {
	var curves []curve
	add := func(name string, p50, recall float64) {
		if !(p50 > 0) {
			return
		}
		i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
		if i < 0 {
			i = len(curves)
			curves = append(curves, curve{name: name})
		}
		curves[i].points = append(curves[i].points, [2]float64{p50, recall})
	}
	for _, r := range own {
		if r.get("bench") == "search" {
			add(fmt.Sprintf("%v, %v bits, %v threads", r.get("peer"), r.get("nbits"), r.get("threads")), r.get("p50").(float64), r.get("recall10").(float64))
		}
	}
	for _, name := range peers {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s := bufio.NewScanner(bytes.NewReader(b))
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var v struct {
				Bench, Peer    string
				NBits, Threads int
				P50, Recall10  float64
			}
			// Scripts log to the same file: what is no line of a search is passed over.
			if !strings.HasPrefix(s.Text(), "{") || json.Unmarshal(s.Bytes(), &v) != nil || v.Bench != "search" {
				continue
			}
			add(fmt.Sprintf("%s, %d bits, %d threads", v.Peer, v.NBits, v.Threads), v.P50, v.Recall10)
		}
		if err := s.Err(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(curves) == 0 {
		return errors.New("-svg: there are no search lines to plot")
	}
	return os.WriteFile(svg, draw(curves), 0o644)
}

// colours are distinct for most eyes (Okabe and Ito).
var colours = []string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"}

func draw(curves []curve) []byte {
	const width, height, left, top, right, bottom = 860, 520, 70, 40, 30, 60
	xlo, xhi, ylo, yhi := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, p := range c.points {
			xlo, xhi = min(xlo, math.Log10(p[0])), max(xhi, math.Log10(p[0]))
			ylo, yhi = min(ylo, p[1]), max(yhi, p[1])
		}
	}
	xlo, xhi = xlo-.1, xhi+.1
	ylo, yhi = math.Floor(ylo*20-.01)/20, math.Min(1, math.Ceil(yhi*20+.01)/20)
	x := func(ms float64) float64 { return left + (math.Log10(ms)-xlo)/(xhi-xlo)*(width-left-right) }
	y := func(r float64) float64 { return height - bottom - (r-ylo)/(yhi-ylo)*(height-top-bottom) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="15">Latency of one query against recall@10 of exact MaxSim (up and left is better)</text>`+"\n", left)
	for e := math.Floor(xlo); e <= xhi; e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow10(int(e))
			if lv := math.Log10(v); lv < xlo || lv > xhi {
				continue
			}
			fmt.Fprintf(&b, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x(v), top, height-bottom, x(v), height-bottom+18, v)
		}
	}
	for i := int(math.Round(ylo * 20)); i <= int(math.Round(yhi*20)); i++ {
		r := float64(i) / 20
		fmt.Fprintf(&b, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.2f</text>`+"\n", left, y(r), width-right, left-8, y(r)+4, r)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">p50, milliseconds</text>`+"\n", (left+width-right)/2, height-20)
	fmt.Fprintf(&b, `<text x="18" y="%d" text-anchor="middle" transform="rotate(-90 18 %d)">recall@10</text>`+"\n", (top+height-bottom)/2, (top+height-bottom)/2)
	for i, c := range curves {
		colour := colours[i%len(colours)]
		slices.SortFunc(c.points, func(a, b [2]float64) int {
			if a[0] < b[0] {
				return -1
			} else if a[0] > b[0] {
				return 1
			}
			return 0
		})
		var path strings.Builder
		best := math.Inf(-1)
		for _, p := range c.points {
			if p[1] > best { // the line joins what no other setting beats
				best = p[1]
				fmt.Fprintf(&path, "%c%.1f %.1f ", "ML"[min(path.Len(), 1)], x(p[0]), y(p[1]))
			}
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %.2f ms, %.4f</title></circle>`+"\n", x(p[0]), y(p[1]), colour, html.EscapeString(c.name), p[0], p[1])
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(path.String()), colour)
		ly := height - bottom - 12 - 17*(len(curves)-1-i)
		fmt.Fprintf(&b, `<path d="M%d %d h24" stroke="%s" stroke-width="2"/><text x="%d" y="%d">%s</text>`+"\n", width-right-250, ly, colour, width-right-220, ly+4, html.EscapeString(c.name))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
