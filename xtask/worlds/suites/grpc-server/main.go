// The server of gRPC's interoperability tests, on the address it is given: the one that is published listens everywhere.
package main

import (
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(orca.CallMetricsServerOption(nil))
	options := interop.NewTestServerOptions{MetricsRecorder: orca.NewServerMetricsRecorder()}
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer(options))
	log.Printf("listening on %v", listener.Addr())
	log.Fatal(server.Serve(listener))
}
