// Server offers an index over HTTP with JSON, for one machine: add, search, delete, health.
//
//	go run ./examples/server -index DIR [-addr 127.0.0.1:8080] [-language de]
//	curl -s localhost:8080/v1/documents -H 'Content-Type: application/json' -d '{"documents":[{"id":"a","text":"..."}]}'
//	curl -s localhost:8080/v1/search -H 'Content-Type: application/json' -d '{"query":"...","k":3}'
//	curl -s -X DELETE localhost:8080/v1/documents/a
//	curl -s localhost:8080/health
//
// A document and a query may say their language ("language":"de"), which encoders with a part per language want to know and
// which is stored as the document's metadata "lang"; -language is that of all that do not.
//
// It listens on the loopback interface unless told otherwise; elsewhere it insists on a key, which clients
// send as "Authorization: Bearer KEY" and which comes from the environment variable GOLBERT_KEY. It speaks
// plain HTTP: put a proxy with TLS before it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/golbertmini"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	dir := flag.String("index", "", "directory of the index; made when it is not there")
	language := flag.String("language", "", "language of documents and queries that do not say theirs, such as de")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *addr, *dir, *language, os.Getenv("GOLBERT_KEY"), log, nil); err != nil {
		log.Error("server stopped", "error", err)
		os.Exit(1)
	}
}

// withLanguage gives texts a language where nothing else does.
func withLanguage(enc colbert.Encoder, language string) colbert.Encoder {
	if language == "" {
		return enc
	}
	return colbert.WithLanguage(enc, language)
}

// serve runs until ctx ends, then lets running requests finish. ready, when set, learns the address.
func serve(ctx context.Context, addr, dir, language, key string, log *slog.Logger, ready func(net.Addr)) error {
	if dir == "" {
		return errors.New("say where the index is with -index")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && key == "" {
		return fmt.Errorf("%s can be reached from other machines: set GOLBERT_KEY, or listen on 127.0.0.1", l.Addr())
	}
	enc, err := golbertmini.Open()
	if err != nil {
		return err
	}
	defer enc.Close()
	if language != "" {
		if language, err = encoder.LanguageCode(language); err != nil {
			return fmt.Errorf("-language: %w", err)
		}
	}
	texts := withLanguage(enc, language)
	ix, err := colbert.Open(ctx, dir, texts, nil)
	if errors.Is(err, colbert.ErrNotFound) {
		ix, err = colbert.Create(ctx, dir, texts, nil)
	}
	if err != nil {
		return err
	}
	defer ix.Close()

	h := newHandler(ix, key, log)
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      requestTime + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	log.Info("listening", "addr", l.Addr().String(), "index", dir)
	if ready != nil {
		ready(l.Addr())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	h.draining.Store(true) // load balancers see it at /readyz
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}
