package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// naiveMatch evaluates a filter on one document's metadata by the definitions, without columns.
func naiveMatch(t testing.TB, f Filter, id string, m Metadata) bool {
	t.Helper()
	val := func(field string) (value, bool) {
		v, ok := m[field]
		if !ok {
			return value{}, false
		}
		x, err := toValue(field, v)
		require.NoError(t, err)
		return x, true
	}
	switch f := f.(type) {
	case *group:
		for _, g := range f.filters {
			if naiveMatch(t, g, id, m) != f.and {
				return !f.and
			}
		}
		return f.and
	case notFilter:
		return !naiveMatch(t, f.f, id, m)
	case existsFilter:
		_, ok := m[string(f)]
		return ok
	case idFilter:
		for _, want := range f {
			if want == id {
				return true
			}
		}
		return false
	case *inFilter:
		v, ok := val(f.field)
		for _, w := range f.values {
			if cmp, same := compareValues(v, w); ok && same && cmp == 0 {
				return true
			}
		}
		return false
	case *rangeFilter:
		v, ok := val(f.field)
		if !ok {
			return false
		}
		for i, b := range []bound{f.lo, f.hi} {
			if !b.set {
				continue
			}
			cmp, same := compareValues(v, b.value)
			if i == 1 {
				cmp = -cmp
			}
			if !same || cmp < 0 || cmp == 0 && b.open {
				return false
			}
		}
		return true
	}
	require.FailNow(t, "unknown filter", "%T", f)
	return false
}

var filterFields = []string{"lang", "year", "score", "ok", "when", "odd name", "absent"}

func randomValue(r *rand.Rand) any {
	switch r.IntN(6) {
	case 0:
		return []string{"", "de", "en", "ja", "zz \"quoted\" 'so'", "é"}[r.IntN(6)]
	case 1:
		return int64(r.IntN(5)) - 2
	case 2:
		return []float64{-1.5, 0, 1, 1.5, 2, math.Inf(1), math.MaxFloat64}[r.IntN(7)]
	case 3:
		return r.IntN(2) == 0
	case 4:
		return time.Unix(int64(r.IntN(3))*1e9, int64(r.IntN(2))*5).UTC()
	default:
		return []int64{math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1}[r.IntN(4)]
	}
}

func randomMeta(r *rand.Rand) Metadata {
	m := Metadata{}
	for _, f := range filterFields[:6] {
		if r.IntN(3) > 0 {
			m[f] = randomValue(r)
		}
	}
	return m
}

// finite avoids values without a text form.
func finite(v any) any {
	if f, ok := v.(float64); ok && math.IsInf(f, 0) {
		return 0.25
	}
	return v
}

func randomFilter(r *rand.Rand, depth int) Filter {
	field := filterFields[r.IntN(len(filterFields))]
	pick := r.IntN(8)
	if depth == 0 {
		pick %= 5
	}
	switch pick {
	case 0:
		return Eq(field, finite(randomValue(r)))
	case 1:
		var vs []any
		for range r.IntN(4) {
			vs = append(vs, finite(randomValue(r)))
		}
		return In(field, vs...)
	case 2:
		v := finite(randomValue(r))
		return Range(field, []Bounds{{GreaterThan: v}, {AtLeast: v}, {LessThan: v}, {AtMost: v}}[r.IntN(4)])
	case 3:
		return Exists(field)
	case 4:
		return IDs("d1", fmt.Sprint("d", r.IntN(40)), "nobody")
	case 5:
		return Not(randomFilter(r, depth-1))
	}
	var fs []Filter
	for range r.IntN(4) {
		fs = append(fs, randomFilter(r, depth-1))
	}
	if pick == 6 {
		return And(fs...)
	}
	return Or(fs...)
}

// TestFilterAgainstDefinition: random metadata, random filters, columns against the plain definition, and the
// text form against the filter that it was made from.
func TestFilterAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 6 {
		ix, _ := create(t, &Options{Dim: 8, NBits: 4})
		n := []int{1, 2, 40, 40, 700, 1300}[round]
		metas := make([]Metadata, n)
		docs := make([]Document, n)
		for i := range docs {
			metas[i] = randomMeta(r)
			if round == 3 { // columns without gaps
				metas[i] = Metadata{"lang": []string{"de", "en"}[i%2], "year": i % 7}
			}
			docs[i] = Document{ID: fmt.Sprint("d", i), Vectors: vectors(r, 1, 8), Meta: metas[i]}
		}
		mustAdd(t, ix, docs...)
		snap := snapshot(t, ix)
		require.Len(t, snap.Segments(), 1)
		seg := snap.Segments()[0]
		for range 200 {
			f := randomFilter(r, 3)
			got, err := f.Bitmap(seg)
			require.NoError(t, err, f.String())
			for i, m := range metas {
				require.Equal(t, naiveMatch(t, f, docs[i].ID, m), got.Contains(uint32(i)), "%s on %v", f, m)
			}
			require.LessOrEqual(t, got.GetCardinality(), uint64(n))
			back, err := ParseFilter(f.String())
			require.NoError(t, err, f.String())
			again, err := back.Bitmap(seg)
			require.NoError(t, err)
			require.True(t, got.Equals(again), "%s became %s", f, back)
		}
	}
}

func TestParseFilter(t *testing.T) {
	for text, want := range map[string]string{
		`lang = "de" and year >= 2020`:                            `lang = "de" and (year >= 2020)`,
		`a = 1 or b = 2 and c = 3`:                                `a = 1 or (b = 2 and c = 3)`,
		`NOT (a = 'it''s') OR Exists(b)`:                          `not (a = "it's") or exists(b)`,
		"`odd name` in (1, 2.5, true, 'x')":                       "`odd name` in (1, 2.5, true, \"x\")",
		`a not in (1)`:                                            `not (a = 1)`,
		`a != false`:                                              `not (a = false)`,
		`a == -3 and b <> .5e1`:                                   `a = -3 and not (b = 5.0)`,
		`created < time("2024-06-01")`:                            `(created < time("2024-06-01T00:00:00Z"))`,
		`created >= time('2024-06-01T10:00:00.000000005+02:00')`:  `(created >= time("2024-06-01T08:00:00.000000005Z"))`,
		` id ( "x" , "y" ) `:                                      `id("x", "y")`,
		`all() and none()`:                                        `all() and none()`,
		`android = 1 and order.by < 2 and "a\n" = "a"`:            ``,
		`android = 1 and order.by < 2`:                            `android = 1 and (order.by < 2)`,
		"`and` = 9223372036854775807 and x = 9223372036854775808": "`and` = 9223372036854775807 and x = 9.223372036854776e+18",
	} {
		f, err := ParseFilter(text)
		if want == "" {
			require.ErrorIs(t, err, ErrInvalidFilter, text)
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, want, f.String())
	}
}

func TestParseFilterErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     "byte 0: expected a field, found the end",
		`lang`:                                 "byte 4: expected a comparison",
		`lang = `:                              "byte 7: expected a value",
		`lang = de`:                            `byte 7: expected a string in quotes`,
		`lang = "de`:                           "byte 7: string in double quotes",
		`lang = 'de`:                           "byte 7: string in single quotes has no end",
		`(a = 1`:                               `byte 6: expected ")"`,
		`a = 1 b = 2`:                          `byte 6: "b = 2" is not understood here`,
		`a = 1x`:                               `"1x" is not a finite number`,
		`a = 1e999`:                            `"1e999" is not a finite number`,
		`a = NaN`:                              "not a finite number",
		`a = 0x10`:                             `"0x10" is not a finite number`,
		`drop(table)`:                          `byte 0: unknown function "drop"`,
		`a in 1`:                               `byte 5: expected "("`,
		`a in (1 2)`:                           `byte 8: expected ")"`,
		`a not = 1`:                            "expected in after not",
		`and = 1`:                              `found the word "and"`,
		`id(1)`:                                "an id is a string",
		`t = time("yesterday")`:                "neither an RFC 3339 time nor a date",
		"`` = 1":                               "field",
		"`x = 1":                               "has no end",
		"a = \"\xff\"":                         "UTF-8",
		strings.Repeat("(", 5000):              "nested deeper than 200",
		strings.Repeat("not ", 5000) + "a = 1": "nested deeper than 200",
	} {
		_, err := ParseFilter(text)
		require.ErrorIs(t, err, ErrInvalidFilter, text)
		require.ErrorContains(t, err, want)
		var fe *FilterError
		require.ErrorAs(t, err, &fe)
	}
}

func TestInvalidFilters(t *testing.T) {
	ix, _ := create(t, &Options{Dim: 8})
	mustAdd(t, ix, Document{ID: "a", Vectors: vectors(newRand(1), 1, 8)})
	seg := snapshot(t, ix).Segments()[0]
	for _, f := range []Filter{
		Eq("a", []int{1}), Eq("", 1), Range("a", Bounds{}), Range("a", Bounds{AtLeast: 1, AtMost: "x"}),
		Range("a", Bounds{AtLeast: 1, GreaterThan: 1}), And(Eq("a", 1), Not(Eq("a", struct{}{}))),
		In("a", 1, uint64(math.MaxUint64)),
	} {
		_, err := f.Bitmap(seg)
		require.ErrorIs(t, err, ErrInvalidFilter)
	}
	for _, f := range []Filter{And(), Or(), Everything(), Exists("x"), Range("a", Bounds{AtLeast: 1, AtMost: 2.5})} {
		_, err := f.Bitmap(seg)
		require.NoError(t, err)
	}
}

func TestCompareNumbersExactly(t *testing.T) {
	num := func(v any) value {
		x, err := toValue("x", v)
		require.NoError(t, err)
		return x
	}
	for _, c := range []struct {
		a, b any
		want int
	}{
		{int64(1<<53 + 1), float64(1 << 53), 1},
		{int64(math.MaxInt64), float64(1 << 63), -1},
		{int64(math.MinInt64), float64(-1 << 63), 0},
		{int64(math.MinInt64), -math.MaxFloat64, 1},
		{int64(3), 3.5, -1}, {int64(-3), -3.5, 1}, {int64(0), math.Copysign(0, -1), 0},
		{int64(5), math.Inf(1), -1}, {2.5, 2.5, 0}, {math.Inf(-1), -1.0, -1},
	} {
		got, ok := compareValues(num(c.a), num(c.b))
		require.True(t, ok)
		require.Equal(t, c.want, got, "%v and %v", c.a, c.b)
		got, ok = compareValues(num(c.b), num(c.a))
		require.True(t, ok)
		require.Equal(t, -c.want, got, "%v and %v", c.b, c.a)
	}
	_, ok := compareValues(num(1), num(math.NaN()))
	require.False(t, ok)
	_, ok = compareValues(num(math.NaN()), num(math.NaN()))
	require.False(t, ok)
	_, ok = compareValues(num("1"), num(1))
	require.False(t, ok)
}

func FuzzParseFilter(f *testing.F) {
	f.Add(`lang = "de" and year >= 2020`)
	f.Add("not (`odd name` in (1, 2.5e3, 'it''s')) or exists(b) and created < time(\"2024-06-01\")")
	f.Add(`id("a", "b") and all() or none()`)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseFilter(text)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalidFilter)
			return
		}
		s := g.String()
		back, err := ParseFilter(s)
		require.NoError(t, err, s)
		require.Equal(t, s, back.String())
	})
}
