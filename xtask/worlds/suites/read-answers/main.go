// Says what Go's net/http makes of answers: listens on a Unix socket (the one argument) for lines `SOCKET METHOD METHOD …`,
// asks there on one connection, and answers each line with one of what it has read (see
// crates/proxy/tests/it/differential/answers.rs). With `-http2` it speaks that, and asks on behind what breaks off.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
)

var speaksHTTP2 = flag.Bool("http2", false, "speak HTTP/2, known before")

func main() {
	flag.Parse()
	listener, err := net.Listen("unix", flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	stream, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if _, err := fmt.Fprintln(stream, askAll(words[0], words[1:])); err != nil {
			log.Fatal(err)
		}
	}
}

func askAll(place string, methods []string) string {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", place)
		},
		DisableCompression: true,
		MaxConnsPerHost:    1,
	}
	if *speaksHTTP2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	defer transport.CloseIdleConnections()
	var read []string
	for _, method := range methods {
		answer := ask(transport, method)
		read = append(read, answer)
		if answer == "-" && !*speaksHTTP2 {
			break
		}
	}
	return strings.Join(read, " ")
}

func ask(transport *http.Transport, method string) string {
	request, err := http.NewRequest(method, "http://shop/", nil)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return "-"
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "-"
	}
	parts := []string{strconv.Itoa(answer.StatusCode), hex.EncodeToString(body)}
	for name, values := range answer.Header {
		for _, value := range values {
			parts = append(parts, word(strings.ToLower(name))+":"+word(value))
		}
	}
	return strings.Join(parts, ".")
}

func word(text string) string { return hex.EncodeToString([]byte(text)) }
