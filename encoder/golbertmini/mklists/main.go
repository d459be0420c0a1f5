// Command mklists makes what the embedded model is trained on: queries with lists of passages and a teacher's scores.
//
//	go run ./encoder/golbertmini/mklists -student DIR -teacher DIR -o lists.jsonl.zst [-texts TEXTS] PAIRS...
//
// The teacher is an ensemble of three that agree seldom enough to be better together than each: BM25, the single vectors
// of the student's own backbone (all-MiniLM-L6-v2, mean of the tokens) and those of a larger model (bge-small-en-v1.5,
// the vector of CLS). Their scores of all passages are made comparable for each query by subtracting the mean and
// dividing by the standard deviation over the passages, and summed with weights 0.5, 1 and 1.
//
// PAIRS are JSON lines of query and positive, perhaps compressed; their texts are cut into passages of 160 tokens. TEXTS are
// JSON lines whose text or positive gives more passages. FILE,N takes at most N passages of a file. Sentences drawn from passages are further queries, which their own passages
// are no candidates for: they teach which passages are about the same thing.
//
// A list holds the labelled passage, or the teacher's first where there is none, and passages spread over the
// teacher's ranking: the first three after it, others of the first 12, and the rest down to rank 200, thinning out. Where
// the teacher ranks the labelled passage below 30, one of the two is wrong, and the query is left out. Labels count as
// 1.5 more in the teacher's score. The result follows from the seed and does not depend on how goroutines run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/train"
	"github.com/golbert/golbert/internal/lines"
)

// instruction is what bge-small-en-v1.5 was trained to find in front of queries.
const instruction = "Represent this sentence for searching relevant passages: "

type command struct {
	student, teacher, out    string
	texts                    files
	sentences, length, limit int
	seed                     uint64
	log                      io.Writer
}

// files is a flag that may be given several times.
type files []string

func (f *files) String() string     { return strings.Join(*f, " ") }
func (f *files) Set(s string) error { *f = append(*f, s); return nil }

func main() {
	c := command{log: os.Stderr}
	flag.StringVar(&c.student, "student", "", "folder of all-MiniLM-L6-v2")
	flag.StringVar(&c.teacher, "teacher", "", "folder of bge-small-en-v1.5")
	flag.StringVar(&c.out, "o", "lists.jsonl.zst", "file to write")
	flag.Var(&c.texts, "texts", "`FILE[,N]` of texts that give passages and sentences only; may be repeated")
	flag.IntVar(&c.sentences, "sentences", 14000, "queries that are sentences of passages")
	flag.IntVar(&c.length, "length", 8, "passages in a list")
	flag.IntVar(&c.limit, "limit", 0, "most lists, 0 for all: for trying out")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of all that is drawn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := c.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mklists:", err)
		os.Exit(1)
	}
}

func (c *command) run(ctx context.Context, pairs []string) error {
	if c.student == "" || c.teacher == "" || len(pairs) == 0 || c.length < 2 {
		return errors.New("needs -student, -teacher, files of pairs, and -length of 2 or more")
	}
	student, err := checkpoint.Open(c.student)
	if err != nil {
		return err
	}
	defer student.Close()
	teacher, err := checkpoint.Open(c.teacher)
	if err != nil {
		return err
	}
	defer teacher.Close()

	p := newPool(student.Tokenizer, c.seed)
	for _, f := range pairs {
		if err := p.addPairs(f); err != nil {
			return err
		}
	}
	for _, f := range c.texts {
		if err := p.addTexts(f); err != nil {
			return err
		}
	}
	p.addSentences(c.sentences)
	p.shuffle(c.limit)
	fmt.Fprintf(c.log, "%d passages, %d queries\n", len(p.passages), len(p.queries))

	e := &ensemble{log: c.log}
	if err := e.add(ctx, "all-MiniLM-L6-v2", student, meanOfTokens, "", p); err != nil {
		return err
	}
	if err := e.add(ctx, "bge-small-en-v1.5", teacher, firstToken, instruction, p); err != nil {
		return err
	}
	e.addBM25(p.passages)

	examples, err := c.lists(ctx, p, e)
	if err != nil {
		return err
	}
	return lines.Write(c.out, func(w io.Writer) error { return train.WriteExamples(w, examples) })
}
