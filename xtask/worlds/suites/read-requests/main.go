// Says what Go's net/http makes of requests: a server on a Unix socket (the one argument) that answers each with what it
// has read, in the field `x-read` (see crates/proxy/tests/it/differential.rs).
package main

import (
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(tell), DisableGeneralOptionsHandler: true}
	log.Fatal(server.Serve(listener))
}

func tell(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	parts := []string{word(request.Method), word(request.RequestURI), word(string(body)), word("host") + ":" + word(request.Host)}
	for name, values := range request.Header {
		for _, value := range values {
			parts = append(parts, word(strings.ToLower(name))+":"+word(value))
		}
	}
	answer.Header().Set("X-Read", strings.Join(parts, "."))
	answer.Header().Set("Content-Length", "0")
}

func word(text string) string { return hex.EncodeToString([]byte(text)) }
