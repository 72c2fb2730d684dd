package occupancy

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed web
var embedded embed.FS

// policy lets the page load what is embedded here and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// api answers the requests of a Service.
type api struct {
	s     *Service
	token [sha256.Size]byte
}

// Handler returns the HTTP interface, described by /openapi.json, and the page
// at /. All of the page's links are relative, so it may be mounted below a
// prefix with http.StripPrefix. It may be used before and during Run; each call
// returns the same interface.
func (s *Service) Handler() http.Handler {
	a := &api{s: s, token: sha256.Sum256([]byte(s.settings.Token))}
	mux := http.NewServeMux()
	data := func(pattern string, handle func(http.ResponseWriter, *http.Request, access)) {
		mux.HandleFunc(pattern, a.admitted(handle))
	}
	data("GET /v1/locations", a.locations)
	data("GET /v1/locations/{id}", a.location)
	data("GET /v1/locations/{id}/sessions", a.sessions)
	data("GET /v1/locations/{id}/history", a.history)
	data("GET /v1/locations/{id}/week", a.week)
	data("GET /v1/groups", a.groups)
	data("GET /v1/visits", a.visits)
	data("GET /v1/alerts", a.alerts)
	data("GET /v1/webhooks", a.webhooks)
	data("GET /v1/webhooks/{name}/dead", a.deadLetters)
	data("POST /v1/webhooks/{name}/redeliver", a.redeliver)
	data("GET /v1/sessions/{id}/story", a.story)
	data("GET /v1/stream", a.stream)
	data("GET /v1/health", a.health)
	s.contract(mux)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "There is nothing at "+r.URL.Path+"; /openapi.json lists what there is.")
	})
	files, err := fs.Sub(embedded, "web")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	for _, name := range []string{"/{$}", "/app.css", "/app.js", "/beside.js", "/curves.js", "/figures.js", "/rows.js", "/stream.js", "/worker.js", "/icon.svg", "/openapi.json"} {
		mux.HandleFunc("GET "+name, page(files, path.Base(strings.Replace(name, "/{$}", "/index.html", 1))))
	}
	return a.outer(mux)
}

// outer sets the headers of every answer, and answers other pages' preflights.
func (a *api) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if len(a.s.settings.Origins) > 0 {
			h.Add("Vary", "Origin")
			if o := r.Header.Get("Origin"); o != "" && a.allows(o) {
				h.Set("Access-Control-Allow-Origin", o)
				h.Set("Access-Control-Expose-Headers", "ETag, Age")
				if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
					h.Set("Access-Control-Allow-Methods", "GET")
					h.Set("Access-Control-Allow-Headers", "Authorization, Guestflow-Token, If-None-Match, Last-Event-ID")
					h.Set("Access-Control-Max-Age", "600")
					w.WriteHeader(http.StatusNoContent)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (a *api) allows(origin string) bool {
	return slices.Contains(a.s.settings.Origins, origin) || slices.Contains(a.s.settings.Origins, "*")
}

// refuse answers with an RFC 9457 problem.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	body, _ := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail}) // strings and a number always marshal
	_, _ = w.Write(body)
}

// answer sends v as JSON with an ETag that is its digest.
func answer(w http.ResponseWriter, r *http.Request, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "private, no-cache")
	tagged(w, r, body)
}

func tagged(w http.ResponseWriter, r *http.Request, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	for candidate := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if c := strings.TrimPrefix(strings.TrimSpace(candidate), "W/"); c == tag || c == "*" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client is gone
}

// page serves one embedded file.
func page(files fs.FS, name string) http.HandlerFunc {
	body, err := fs.ReadFile(files, name)
	if err != nil {
		panic(err) // the file is embedded
	}
	kind := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".json": "application/json",
	}[path.Ext(name)]
	return static(kind, body)
}

// static serves what does not change while the process lives.
func static(kind string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-cache")
		tagged(w, r, body)
	}
}

// count reads a whole number from the query, between 0 and most.
func count(w http.ResponseWriter, r *http.Request, name string, standard, most int) (int, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		refuse(w, http.StatusBadRequest, name+" is "+strconv.Quote(text)+": want a whole number from 0 to "+strconv.Itoa(most)+".")
		return 0, false
	}
	return n, true
}

func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Second)
}
