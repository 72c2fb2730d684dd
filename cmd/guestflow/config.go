package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // GUESTFLOW_API_TIME_ZONE, in images without the database

	"github.com/kelseyhightower/envconfig"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// envPrefix begins the name of every variable.
const envPrefix = "GUESTFLOW"

// Config is the whole configuration, read from the environment. The desc tags
// are what `guestflow config` prints.
type Config struct {
	APIURL         string        `envconfig:"API_URL" account:"yes" desc:"base URL of the platform's API, for instance https://api.example.com/api/v1"`
	APIToken       string        `envconfig:"API_TOKEN" secret:"true" account:"yes" desc:"token for the platform's API"`
	APIAuthHeader  string        `envconfig:"API_AUTH_HEADER" default:"Authorization" account:"yes" desc:"header that carries the token"`
	APIAuthScheme  string        `envconfig:"API_AUTH_SCHEME" default:"Bearer" account:"yes" desc:"word before the token; - for none"`
	APIRateLimit   int           `envconfig:"API_RATE_LIMIT" default:"60" account:"yes" desc:"requests a minute and endpoint that the platform allows"`
	APISharedLimit bool          `envconfig:"API_SHARED_LIMIT" default:"false" account:"yes" desc:"true where all endpoints share one limit"`
	APITimeout     time.Duration `envconfig:"API_TIMEOUT" default:"15s" account:"yes" desc:"longest time that one request may take"`
	APITimeZone    string        `envconfig:"API_TIME_ZONE" account:"yes" desc:"zone of the platform's times where these name none, for instance Europe/Istanbul"`

	APICA         string `envconfig:"API_CA" account:"path" desc:"path of a PEM file of the authorities that sign the API's certificate, in place of the system's"`
	APIClientCert string `envconfig:"API_CLIENT_CERT" account:"path" desc:"path of the client certificate for the API, PEM"`
	APIClientKey  string `envconfig:"API_CLIENT_KEY" account:"path" desc:"path of the client certificate's key"`
	APIProxy      string `envconfig:"API_PROXY" secret:"true" account:"yes" desc:"URL of the HTTP proxy to the API; - for none; empty takes HTTPS_PROXY and NO_PROXY"`

	Account      string        `envconfig:"ACCOUNT" default:"default" account:"yes" desc:"name of the platform account, a token of every subject"`
	Locations    []string      `envconfig:"LOCATIONS" account:"yes" desc:"comma list of location ids to watch; empty discovers them"`
	Lease        time.Duration `envconfig:"LEASE" default:"0s" desc:"set on several processes with the same accounts file, these share the accounts; one that ends by accident is replaced after this time, for instance 10s. 0 polls all here"`
	AccountsFile string        `envconfig:"ACCOUNTS_FILE" desc:"file of accounts that one process polls, each with settings of its own; empty for the one that the variables describe"`
	DataDir      string        `envconfig:"DATA_DIR" default:"data" desc:"directory for state, outbox and the embedded NATS server's streams"`

	NATSURL      string `envconfig:"NATS_URL" desc:"URL of the NATS server, or of several of a cluster, separated by commas; empty starts the embedded one"`
	NATSCreds    string `envconfig:"NATS_CREDS" desc:"path of a NATS credentials file"`
	NATSNKey     string `envconfig:"NATS_NKEY" desc:"path of an nkey seed file"`
	NATSUser     string `envconfig:"NATS_USER" desc:"NATS user name"`
	NATSPassword string `envconfig:"NATS_PASSWORD" secret:"verbatim" desc:"NATS password"`
	NATSToken    string `envconfig:"NATS_TOKEN" secret:"verbatim" desc:"NATS token"`
	NATSCA       string `envconfig:"NATS_CA" desc:"path of the certificate authority that signs the NATS server's certificate"`
	NATSCert     string `envconfig:"NATS_CERT" desc:"path of the client certificate for NATS"`
	NATSKey      string `envconfig:"NATS_KEY" desc:"path of the client certificate's key"`
	NATSProxy    string `envconfig:"NATS_PROXY" secret:"true" desc:"URL of the HTTP proxy to the NATS server, by CONNECT; empty for none"`
	NATSListen   string `envconfig:"NATS_LISTEN" default:"127.0.0.1:4222" desc:"address of the embedded NATS server"`

	Stream         string        `envconfig:"STREAM" default:"GUEST_SESSIONS" desc:"name of the JetStream stream"`
	SubjectPrefix  string        `envconfig:"SUBJECT_PREFIX" default:"guest.sessions" desc:"first tokens of every subject"`
	StreamMaxAge   time.Duration `envconfig:"STREAM_MAX_AGE" default:"720h" desc:"how long the stream keeps events; 0 for ever"`
	Retention      string        `envconfig:"RETENTION" desc:"fields that are kept for less long than events, and for how long, as in email,name=720h; mac,ip=2160h; events=17520h. Beside them guest, for ids; events is GUESTFLOW_STREAM_MAX_AGE unless given. Streams without them keep the rest; empty keeps all alike"`
	StreamReplicas int           `envconfig:"STREAM_REPLICAS" default:"1" desc:"copies of the stream in a NATS cluster"`
	StreamManage   bool          `envconfig:"STREAM_MANAGE" default:"true" desc:"false uses a stream, buckets and a stream of dead letters that were declared elsewhere, and makes none"`

	Planner         string        `envconfig:"PLANNER" default:"adaptive" account:"yes" desc:"what is asked next: adaptive, round-robin or sweep"`
	Ends            string        `envconfig:"ENDS" default:"presumed" account:"yes" desc:"proven publishes an end only once it is proven; presumed also where the platform's lists have no order, proof cannot keep up, and many readings did not show the session"`
	FiguresWait     time.Duration `envconfig:"FIGURES_WAIT" default:"30s" account:"yes" desc:"longest that a proven end waits for the platform's final figures, where requests are to spare; 0 publishes it at once"`
	MaxStaleness    time.Duration `envconfig:"MAX_STALENESS" default:"5m" account:"yes" desc:"greatest age that a location's state may have, where the limit permits"`
	BackfillTurn    int           `envconfig:"BACKFILL_TURN" default:"10" account:"yes" desc:"of how many requests for sessions one reads the history that guestflow backfill asked for"`
	StartWeight     float64       `envconfig:"START_WEIGHT" default:"1" account:"yes" desc:"how much more a late start costs than a late end"`
	TrafficMinBytes int64         `envconfig:"TRAFFIC_MIN_BYTES" default:"1000000" account:"yes" desc:"bytes by which a figure must move before a traffic event is published"`
	ByteBase        int           `envconfig:"BYTE_BASE" default:"1000" account:"yes" desc:"bytes in the platform's kB: 1000 or 1024"`
	OutboxMaxBytes  int64         `envconfig:"OUTBOX_MAX_BYTES" default:"1073741824" account:"yes" desc:"unsent events that are kept while NATS is away; polling pauses beyond"`

	MAC        string `envconfig:"MAC" default:"keep" account:"yes" desc:"device MAC addresses: keep, hash or drop"`
	IP         string `envconfig:"IP" default:"keep" account:"yes" desc:"device IP addresses: keep, hash or drop"`
	Name       string `envconfig:"NAME" default:"keep" account:"yes" desc:"guests' names and user names: keep, hash or drop"`
	Email      string `envconfig:"EMAIL" default:"keep" account:"yes" desc:"guests' e-mail addresses: keep, hash or drop"`
	PrivacyKey string `envconfig:"PRIVACY_KEY" secret:"verbatim" account:"yes" desc:"key of the pseudonyms that hash makes, at least 16 characters"`

	Guests       bool          `envconfig:"GUESTS" default:"false" account:"yes" desc:"true looks up who arrives, and publishes name and e-mail with it"`
	GuestWait    time.Duration `envconfig:"GUEST_WAIT" default:"5s" account:"yes" desc:"longest time that arrivals, and what comes after them, wait for the guest's name"`
	GuestMinimum string        `envconfig:"GUEST_MINIMUM" default:"confirmed" account:"yes" desc:"how sure a guest must be to be published: confirmed or likely"`

	Visits        bool            `envconfig:"VISITS" default:"false" desc:"true makes visits of the sessions, in the stream GUEST_VISITS"`
	VisitGap      time.Duration   `envconfig:"VISIT_GAP" default:"30m" desc:"longest silence between a guest's sessions that a visit outlasts"`
	VisitStays    []time.Duration `envconfig:"VISIT_STAYS" default:"10m,1h" desc:"comma list of lengths of stay that get an event of their own"`
	VisitLateness time.Duration   `envconfig:"VISIT_LATENESS" default:"5m" desc:"how late a change may become known: stays and ends of visits wait so much longer"`
	VisitGroups   string          `envconfig:"VISIT_GROUPS" desc:"places of several locations, as in mall=id1,id2;airport=id3,id4: going about one is not leaving"`

	VisitMemory  time.Duration `envconfig:"VISIT_MEMORY" default:"8760h" desc:"how long a guest is remembered after a visit: the next one then has its number, and says how long after it came; 0 remembers nobody"`
	VisitLapsed  time.Duration `envconfig:"VISIT_LAPSED" default:"0s" desc:"after which time without a visit to the place an event tells that a guest has lapsed, for instance 720h; 0 is never"`
	VisitHistory string        `envconfig:"VISIT_HISTORY" default:"learn" desc:"what the platform is asked of guests who were not here before as far as guestflow knows, by count requests that nobody else needs. learn: it is found out whether its history is whole; whole: it is known to be; none: nothing is asked"`

	AlertsFile   string `envconfig:"ALERTS_FILE" desc:"file of rules for alerts: a location that is full, busier than usual or silent, in the stream GUEST_ALERTS; empty for none"`
	BaselineDays int    `envconfig:"BASELINE_DAYS" default:"90" desc:"days of the platform's history that alerts learn from what is usual, by count requests that nobody else needs; 0 asks for none"`
	BaselineZone string `envconfig:"BASELINE_ZONE" desc:"zone of the weekdays and hours of which is known what is usual, for instance Europe/Istanbul; empty takes GUESTFLOW_API_TIME_ZONE, or UTC"`

	AddressChecks bool `envconfig:"ADDRESS_CHECKS" default:"false" account:"yes" desc:"true also asks by IP address who is online still, 100 sessions a request, on that endpoint's own limit: changes are seen in about half the time (guestflow plan says what it would bring here). The answers carry names and e-mails, which are not read"`

	HTTPAddr  string `envconfig:"HTTP_ADDR" default:"127.0.0.1:8080" desc:"address of the web page, API, metrics, /healthz and /readyz; - for none"`
	LogLevel  string `envconfig:"LOG_LEVEL" default:"info" file:"true" desc:"debug, info, warn or error; the file is read again at SIGHUP"`
	LogFormat string `envconfig:"LOG_FORMAT" default:"text" desc:"text or json"`

	OccupancyToken string `envconfig:"OCCUPANCY_TOKEN" secret:"true" desc:"bearer token that the web API asks for before it shows personal data"`
	OccupancyCORS  string `envconfig:"OCCUPANCY_CORS" desc:"origin that browsers may call the web API from; empty for none"`
	WebhooksFile   string `envconfig:"WEBHOOKS_FILE" desc:"endpoints file of the webhooks that run sends; empty for none"`
	GroupsFile     string `envconfig:"GROUPS_FILE" desc:"file of groups of locations, and of tokens of the web API that show the locations of some alone; empty for none"`
}

// loadConfig reads and checks the environment. The error lists everything that
// is wrong; warnings name variables that mean nothing, and values that seem not to
// be meant as they are.
func loadConfig(environ []string) (cfg Config, warnings []string, err error) {
	values, warnings, errs := read(environ)
	bad, typeErrs := process(&cfg, values)
	errs = append(errs, typeErrs...)
	warnings = append(warnings, cfg.bareTokens()...)
	cfg.Locations = trimmed(cfg.Locations)
	for _, fault := range cfg.faults() {
		// What could not be read has no value that could be judged.
		if name, _, _ := strings.Cut(fault.Error(), "="); !slices.Contains(bad, name) {
			errs = append(errs, fault)
		}
	}
	return cfg, append(unknownVariables(environ), warnings...), errors.Join(errs...)
}

// process sets the fields one by one, so that every bad value is named and not
// the first alone. envconfig is given each value in place of a default: asked for
// the variables themselves, it would take them as they were written.
func process(cfg *Config, values map[string]string) (bad []string, errs []error) {
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := variable(field)
		if err := set(v.Field(i), field, name, cmp.Or(values[name], field.Tag.Get("default"))); err != nil {
			bad = append(bad, name)
			errs = append(errs, err)
		}
	}
	return bad, errs
}

// set puts into a field what text says; the error calls it by name.
func set(into reflect.Value, field reflect.StructField, name, text string) error {
	whole := field
	whole.Tag = reflect.StructTag(fmt.Sprintf(`envconfig:%q default:%q`, name+"=", text)) // no variable can be called so
	one := reflect.New(reflect.StructOf([]reflect.StructField{whole}))
	if err := envconfig.Process("", one.Interface()); err != nil {
		return fmt.Errorf("%s=%q: use %s (%s)", name, text, typeName(field.Type), field.Tag.Get("desc"))
	}
	into.Set(one.Elem().Field(0))
	return nil
}

// trimmed returns the entries of a list without the space around them, and without
// those that are nothing else: a person writes "a, b" and ends it with a comma.
func trimmed(list []string) []string {
	var kept []string
	for _, v := range list {
		if v = strings.TrimSpace(v); v != "" {
			kept = append(kept, v)
		}
	}
	return kept
}

func variable(f reflect.StructField) string { return envPrefix + "_" + f.Tag.Get("envconfig") }

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[[]time.Duration]():
		return "durations such as 10m,1h"
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 15s or 5m"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	}
	return t.String()
}

// mayBeFile reports whether the variable has a sister with _FILE: every secret has,
// and what is read again.
func mayBeFile(f reflect.StructField) bool {
	return f.Tag.Get("secret") != "" || f.Tag.Get("file") != ""
}

func lookup(environ []string, name string) (string, bool) {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// unknownVariables names the GUESTFLOW_ variables that mean nothing.
func unknownVariables(environ []string) []string {
	known := make(map[string]bool)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		known[variable(field)] = true
		if mayBeFile(field) {
			known[variable(field)+"_FILE"] = true
		}
	}
	var warnings []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !known[name] {
			meant := ""
			if near := nearest(name, slices.Sorted(maps.Keys(known))); len(near) > 0 && len(near) <= 3 {
				meant = "did you mean " + strings.Join(near, " or ") + "? "
			}
			warnings = append(warnings, fmt.Sprintf("%s is not a variable of guestflow; %s`guestflow config` lists them all", name, meant))
		}
	}
	sort.Strings(warnings)
	return warnings
}

// faults checks what types cannot.
func (c *Config) faults() []error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(envPrefix+"_"+format, args...))
		}
	}
	oneOf := func(name, value string, allowed ...string) {
		for _, a := range allowed {
			if value == a {
				return
			}
		}
		bad(true, "%s=%q: use %s", name, value, strings.Join(allowed, ", "))
	}
	bad(c.Lease < 0 || c.Lease > 0 && c.Lease < leaseMin, "LEASE=%v: use 0 or %v or more", c.Lease, leaseMin)
	bad(c.Lease > 0 && c.NATSURL == "", "LEASE=%v: processes share accounts over a NATS server of their own; set GUESTFLOW_NATS_URL", c.Lease)
	oneOf("PLANNER", c.Planner, "adaptive", "round-robin", "sweep")
	oneOf("MAC", c.MAC, "keep", "hash", "drop")
	oneOf("IP", c.IP, "keep", "hash", "drop")
	oneOf("NAME", c.Name, "keep", "hash", "drop")
	oneOf("EMAIL", c.Email, "keep", "hash", "drop")
	oneOf("GUEST_MINIMUM", c.GuestMinimum, "confirmed", "likely")
	bad(c.GuestWait < time.Second || c.GuestWait > time.Minute, "GUEST_WAIT=%v: use 1s to 1m; GUESTFLOW_GUESTS=false looks nobody up", c.GuestWait)
	bad(c.Guests && c.Name == "drop" && c.Email == "drop", "GUESTS=true with NAME=drop and EMAIL=drop leaves nothing of a guest: keep or hash one, or set GUESTFLOW_GUESTS=false")
	oneOf("VISIT_HISTORY", c.VisitHistory, "learn", "whole", "none")
	oneOf("LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error")
	oneOf("LOG_FORMAT", c.LogFormat, "text", "json")
	bad(c.ByteBase != 1000 && c.ByteBase != 1024, "BYTE_BASE=%d: use 1000 or 1024", c.ByteBase)
	bad(c.APIRateLimit < 1, "API_RATE_LIMIT=%d: use 1 or more", c.APIRateLimit)
	bad(c.APITimeout <= 0, "API_TIMEOUT=%v: use a positive duration", c.APITimeout)
	_, err := c.timeZone()
	bad(err != nil, "API_TIME_ZONE=%q: use a name of the IANA time zone database, for instance Europe/Istanbul, or UTC", c.APITimeZone)
	bad(c.StreamReplicas < 1 || c.StreamReplicas > 5, "STREAM_REPLICAS=%d: use 1 to 5", c.StreamReplicas)
	bad(c.StreamMaxAge < 0, "STREAM_MAX_AGE=%v: use 0 or a positive duration", c.StreamMaxAge)
	bad(c.Ends != "presumed" && c.Ends != "proven", "ENDS=%q: use presumed or proven", c.Ends)
	bad(c.FiguresWait < 0, "FIGURES_WAIT=%v: use 0 or a positive duration", c.FiguresWait)
	bad(c.MaxStaleness <= 0, "MAX_STALENESS=%v: use a positive duration", c.MaxStaleness)
	bad(c.StartWeight <= 0, "START_WEIGHT=%v: use a number above 0", c.StartWeight)
	bad(c.TrafficMinBytes < 0, "TRAFFIC_MIN_BYTES=%d: use 0 or more", c.TrafficMinBytes)
	bad(c.OutboxMaxBytes < 1<<20, "OUTBOX_MAX_BYTES=%d: use at least 1048576", c.OutboxMaxBytes)
	hashes := c.MAC == "hash" || c.IP == "hash" || c.Name == "hash" || c.Email == "hash"
	bad(hashes && len(c.PrivacyKey) < 16, "PRIVACY_KEY is needed where MAC, IP, NAME or EMAIL is hash: at least 16 characters; `openssl rand -hex 32` makes one")
	bad(strings.ContainsAny(c.Stream, ". *>/\\\t\r\n"), "STREAM=%q: use letters, digits, '-' and '_'", c.Stream)
	if _, err := events.NewSubjects(c.SubjectPrefix); err != nil {
		bad(true, "SUBJECT_PREFIX: %v", err)
	}
	c.addressFaults(bad)
	errs = append(errs, c.visitFaults()...)
	errs = append(errs, c.retentionFaults()...)
	_, err = c.baselineZone()
	bad(err != nil, "BASELINE_ZONE=%q: use a name of the IANA time zone database, for instance Europe/Istanbul, or UTC", c.BaselineZone)
	bad(c.BackfillTurn < 2 || c.BackfillTurn > 1000, "BACKFILL_TURN=%d: use 2 to 1000", c.BackfillTurn)
	bad(c.BaselineDays != 0 && (c.BaselineDays < 14 || c.BaselineDays > 366), "BASELINE_DAYS=%d: use 14 to 366, or 0 for none", c.BaselineDays)
	if c.OccupancyCORS != "" {
		err := occupancy.Settings{Origins: []string{c.OccupancyCORS}}.Check()
		bad(err != nil, "OCCUPANCY_CORS=%q: use scheme and host alone, as in https://board.example, or *", c.OccupancyCORS)
	}
	errs = append(errs, each(connectSettings(*c, nil).CheckFiles())...)
	sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return errs
}

// addressFaults tells bad of addresses that are none.
func (c *Config) addressFaults(bad func(wrong bool, format string, args ...any)) {
	for name, addr := range map[string]string{"HTTP_ADDR": c.HTTPAddr, "NATS_LISTEN": c.NATSListen} {
		if name == "HTTP_ADDR" && addr == "-" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(true, "%s=%q: use host:port", name, addr)
		}
	}
	for server := range strings.SplitSeq(c.NATSURL, ",") {
		if u, err := url.Parse(strings.TrimSpace(server)); c.NATSURL != "" && (err != nil || u.Host == "") {
			// It may hold a password, so it is not repeated.
			bad(true, "NATS_URL: use nats://host:4222, or several separated by commas")
			break
		}
	}
}

// timeZone returns the zone of times that name none; nil where none is configured.
func (c *Config) timeZone() (*time.Location, error) {
	if c.APITimeZone == "" {
		return nil, nil
	}
	if c.APITimeZone == "Local" {
		return nil, errors.New("it depends on the machine")
	}
	return time.LoadLocation(c.APITimeZone)
}

// together is one error of what is wrong with the configuration itself, and with
// what a command needs of it. A variable that is named already is not missed, too.
func together(err error, needs ...error) error {
	all := []error{err}
	told := map[string]bool{} // several needs may lack the same
	for _, need := range needs {
		for _, e := range each(need) {
			if told[e.Error()] {
				continue
			}
			told[e.Error()] = true
			name, _, _ := strings.Cut(e.Error(), " ")
			if err == nil || !strings.HasPrefix(name, envPrefix) || !strings.Contains(err.Error(), strings.TrimSuffix(name, ":")) {
				all = append(all, e)
			}
		}
	}
	return errors.Join(all...)
}

// each are the errors that errors.Join made err of.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		return joined.Unwrap()
	}
	return []error{err}
}

// needEndpoints checks the endpoints file of the webhooks, where one is named.
func (c *Config) needEndpoints() error {
	if c.WebhooksFile == "" {
		return nil
	}
	groups, err := c.groupTree()
	if err != nil {
		return err
	}
	_, err = webhook.Load(c.WebhooksFile, absentFields(*c), groups)
	var unread *fs.PathError
	if errors.As(err, &unread) && unread.Path == c.WebhooksFile {
		return fmt.Errorf("%s_WEBHOOKS_FILE, or --file: %w", envPrefix, err)
	}
	return err
}

// needPlatform checks what only the commands that ask the platform need.
func (c *Config) needPlatform() error {
	var errs []error
	if c.APIURL == "" {
		errs = append(errs, fmt.Errorf("%s_API_URL is not set: give the base URL of the platform's API; `guestflow demo` runs without one", envPrefix))
	}
	if c.APIToken == "" {
		errs = append(errs, fmt.Errorf("%s_API_TOKEN is not set: give the API token, or its file as %s_API_TOKEN_FILE", envPrefix, envPrefix))
	}
	// The rest is judged as it was read, see faults.
	_, err := platform.New(platform.Config{
		BaseURL: cmp.Or(c.APIURL, "https://unset.invalid"), Token: c.APIToken, AuthHeader: c.APIAuthHeader, AuthScheme: c.APIAuthScheme,
		CA: c.APICA, ClientCert: c.APIClientCert, ClientKey: c.APIClientKey, Proxy: c.APIProxy,
	})
	for _, e := range each(err) {
		for what, name := range map[string]string{"API URL": "API_URL", "API token": "API_TOKEN", "API auth scheme": "API_AUTH_SCHEME", "API auth header": "API_AUTH_HEADER"} {
			if strings.HasPrefix(e.Error(), what) {
				e = fmt.Errorf("%s_%s: %w", envPrefix, name, e)
				break
			}
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
