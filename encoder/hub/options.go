package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options are the options of Fetch. A nil pointer means the zero value.
type Options struct {
	// Revision is a branch, a tag or a commit; empty means "main". Name a commit (40 hex digits) to get the same
	// files for ever.
	Revision string
	// Endpoint is the address of the hub; empty means HF_ENDPOINT, or https://huggingface.co.
	Endpoint string
	// Token is the access token; empty means HF_TOKEN.
	Token string
	// CacheDir is the cache's folder; empty means HF_HUB_CACHE, or the folder hub in HF_HOME, whose default is
	// ~/.cache/huggingface (XDG_CACHE_HOME counts).
	CacheDir string
	// Offline forbids the network: what is in the cache is used. HF_HUB_OFFLINE=1 does the same.
	Offline bool
	// MaxFile and MaxTotal bound the bytes of one file and of all files; 0 means 32 GiB and 64 GiB.
	MaxFile, MaxTotal int64
	// Parallel is the number of files that are downloaded at a time; 0 means 4.
	Parallel int
	// Retries is how often a download is tried again after a network fault or an answer such as 429 or 503;
	// 0 means 5, a negative number never.
	Retries int
	// Progress, when set, is called as bytes arrive, never concurrently.
	Progress func(Progress)
	// Client sends the requests; nil means one with the system's proxy settings. Its redirect policy is not used.
	Client *http.Client

	wait  func(time.Duration) time.Duration // in tests: shortens waiting
	noSym bool                              // in tests: as if links were not allowed
}

// Progress says how far Fetch is.
type Progress struct {
	File             string // the file that bytes arrived of
	Done, Total      int64  // of this file
	AllDone, AllSize int64  // of all files, those already in the cache included
}

// settings are Options with everything filled in.
type settings struct {
	Options
	endpoint *url.URL
	client   http.Client
}

const (
	defaultEndpoint = "https://huggingface.co"
	defaultMaxFile  = 32 << 30
	defaultMaxTotal = 64 << 30
	defaultParallel = 4
	defaultRetries  = 5
)

// resolve fills in what the options leave open.
func (o *Options) resolve() (*settings, error) {
	s := &settings{}
	if o != nil {
		s.Options = *o
	}
	or := func(v *string, names ...string) {
		for _, n := range names {
			if *v == "" {
				*v = strings.TrimSpace(os.Getenv(n))
			}
		}
	}
	or(&s.Endpoint, "HF_ENDPOINT")
	or(&s.Token, "HF_TOKEN")
	or(&s.CacheDir, "HF_HUB_CACHE")
	if s.Endpoint == "" {
		s.Endpoint = defaultEndpoint
	}
	if s.Revision == "" {
		s.Revision = "main"
	}
	switch strings.ToUpper(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		s.Offline = true
	}
	if strings.ContainsAny(s.Token, "\r\n") {
		return nil, errors.New("hub: the token has a line break")
	}
	if s.CacheDir == "" {
		home := os.Getenv("HF_HOME")
		if home == "" {
			base := os.Getenv("XDG_CACHE_HOME")
			if base == "" {
				user, err := os.UserHomeDir()
				if err != nil {
					return nil, fmt.Errorf("hub: no cache folder: %w", err)
				}
				base = filepath.Join(user, ".cache")
			}
			home = filepath.Join(base, "huggingface")
		}
		s.CacheDir = filepath.Join(home, "hub")
	}
	u, err := url.Parse(strings.TrimRight(s.Endpoint, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("hub: endpoint %q is not the address of a server: %w", s.Endpoint, ErrName)
	}
	s.endpoint = u
	for v, def := range map[*int64]int64{&s.MaxFile: defaultMaxFile, &s.MaxTotal: defaultMaxTotal} {
		if *v <= 0 {
			*v = def
		}
	}
	if s.Parallel <= 0 {
		s.Parallel = defaultParallel
	}
	if s.Retries == 0 {
		s.Retries = defaultRetries
	}
	if o != nil && o.Client != nil {
		s.client = *o.Client
	}
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if s.wait == nil {
		s.wait = func(d time.Duration) time.Duration { return d }
	}
	return s, nil
}
