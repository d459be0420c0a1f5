package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/internal/lines"
)

// Lengths of passages in tokens: the most, and the least that the end of a text must have to be one.
const (
	passageTokens = 160
	passageRest   = 40
	// passagesOfText is how many passages are taken of one text, from its beginning.
	passagesOfText = 2
)

// query is a query and what is known of it.
type query struct {
	text string
	// label is the passage that answers it, -1 where none is known.
	label int
	// banned is the passage that it was taken from, -1 for none.
	banned int
	group  string
}

// pool gathers passages, each text once, and queries.
type pool struct {
	tok      *tokenizer.Tokenizer
	rng      *rand.Rand
	passages []string
	at       map[string]int
	queries  []query
}

func newPool(t *tokenizer.Tokenizer, seed uint64) *pool {
	return &pool{tok: t, rng: rand.New(rand.NewPCG(seed, 0)), at: map[string]int{}}
}

// record is a line of a file: a pair, or a text.
type record struct {
	Query      string `json:"query"`
	Translated string `json:"query_translated"` // the query in the pivot language
	Pivot      string `json:"pivot"`
	Positive   string `json:"positive"`
	Text       string `json:"text"`
	Title      string `json:"title"`
	Group      string `json:"group"`
}

// read reads a file, FILE or FILE,N, in an order by chance. most is N.
func (p *pool) read(spec string) (out []record, most int, err error) {
	path, n, ok := strings.Cut(spec, ",")
	most = math.MaxInt
	if ok {
		if most, err = strconv.Atoi(n); err != nil || most < 1 {
			return nil, 0, fmt.Errorf("%s: number of passages %q", path, n)
		}
	}
	f, err := lines.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	for l, err := range lines.Scan(f) {
		if err != nil {
			return nil, 0, fmt.Errorf("%s:%d: %w", path, l.N, err)
		}
		var r record
		if err := json.Unmarshal(l.Text, &r); err != nil {
			return nil, 0, fmt.Errorf("%s:%d: %w", path, l.N, err)
		}
		if r.Pivot == "en" && r.Translated != "" {
			r.Query = r.Translated
		}
		out = append(out, r)
	}
	p.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, most, nil
}

// addPairs adds the pairs of a file, English ones, up to the number of passages. Pairs in which a text is empty or in
// another script are left out.
func (p *pool) addPairs(path string) error {
	rs, most, err := p.read(path)
	if err != nil {
		return err
	}
	name := filepath.Base(filepath.Dir(path))
	first := len(p.passages)
	for _, r := range rs {
		if len(p.passages)-first >= most {
			break
		}
		q := strings.TrimSpace(r.Query)
		if q == "" || !latin(q) || !latin(r.Positive) {
			continue
		}
		ids := p.cut(r.Positive, passagesOfText)
		if len(ids) == 0 {
			continue
		}
		group := r.Group
		if group == "" {
			group = r.Title
		}
		p.queries = append(p.queries, query{q, ids[0], -1, fmt.Sprintf("%s:%s:%d", name, group, ids[0])})
	}
	return nil
}

// addTexts adds passages of texts, one each.
func (p *pool) addTexts(path string) error {
	rs, most, err := p.read(path)
	if err != nil {
		return err
	}
	first := len(p.passages)
	for _, r := range rs {
		if len(p.passages)-first >= most {
			break
		}
		if t := strings.TrimSpace(r.Text + r.Positive); t != "" && latin(t) {
			p.cut(t, 1)
		}
	}
	return nil
}

// addSentences draws n sentences from as many passages.
func (p *pool) addSentences(n int) {
	for _, i := range p.rng.Perm(len(p.passages)) {
		if n == 0 {
			break
		}
		var of []string
		for _, s := range sentences(p.passages[i]) {
			if w := len(strings.Fields(s)); 6 <= w && w <= 24 {
				of = append(of, s)
			}
		}
		if len(of) > 0 {
			p.queries = append(p.queries, query{of[p.rng.IntN(len(of))], -1, i, fmt.Sprintf("sentence:%d", i)})
			n--
		}
	}
}

// shuffle puts queries in an order by chance and keeps the first limit, all for 0.
func (p *pool) shuffle(limit int) {
	p.rng.Shuffle(len(p.queries), func(i, j int) { p.queries[i], p.queries[j] = p.queries[j], p.queries[i] })
	if limit > 0 && limit < len(p.queries) {
		p.queries = p.queries[:limit]
	}
}

// cut adds the first passages of a text and gives their numbers.
func (p *pool) cut(text string, most int) []int {
	text = strings.Join(strings.Fields(text), " ")
	offsets := p.tok.Encode(text, tokenizer.EncodeOptions{}).Offsets
	var ids []int
	for i := 0; i < len(offsets) && len(ids) < most; i += passageTokens {
		if i > 0 && len(offsets)-i < passageRest {
			break
		}
		end := min(i+passageTokens, len(offsets))
		s := text[offsets[i][0]:offsets[end-1][1]]
		id, ok := p.at[s]
		if !ok {
			id = len(p.passages)
			p.at[s], p.passages = id, append(p.passages, s)
		}
		ids = append(ids, id)
	}
	return ids
}

// latin says that a text is nearly all ASCII, which English is.
func latin(s string) bool {
	var ascii, all int
	for _, r := range s {
		if all++; r < 0x80 {
			ascii++
		}
	}
	return all > 0 && 100*ascii > 97*all
}

// sentences splits a passage after full stops, question and exclamation marks that white space follows.
func sentences(s string) []string {
	var out []string
	for start := 0; start < len(s); {
		end := len(s)
		for i := start; i+1 < len(s); i++ {
			if strings.IndexByte(".?!", s[i]) >= 0 && s[i+1] == ' ' {
				end = i + 1
				break
			}
		}
		if t := strings.TrimSpace(s[start:end]); t != "" {
			out = append(out, t)
		}
		start = end
	}
	return out
}
