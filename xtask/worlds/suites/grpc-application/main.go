// grpc-application LABEL IP PORT NEXT: somebody's own application of gRPC, of every kind of call. What says whose request
// it is goes from each call to those that it makes, by hand; of where it runs it knows nothing. NEXT is a host and port, or
// `-` for none. The messages are bytes: no schema is needed to see who has answered.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const service = "lane.Chain"

var forwarded = []string{"baggage", "traceparent"}

// plain is a codec of messages that are bytes already.
type plain struct{}

func (plain) Name() string                  { return "plain" }
func (plain) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (plain) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// application is one instance: what it calls itself, and whom it calls where it is not the last.
type application struct {
	own  string
	next *grpc.ClientConn
	// Calls at the last one that end with their caller alone: those that wait, and those that have waited.
	waiting, waited atomic.Int64
}

// along is the context of calls that a call makes: its metadata, its deadline, its end.
func along(ctx context.Context) context.Context {
	arrived, _ := metadata.FromIncomingContext(ctx)
	outgoing := metadata.MD{}
	for _, name := range forwarded {
		outgoing.Append(name, arrived.Get(name)...)
	}
	return metadata.NewOutgoingContext(ctx, outgoing)
}

func (a *application) prefixed(answer []byte) []byte {
	return fmt.Appendf(nil, "%s -> %s", a.own, answer)
}

func (a *application) ask(ctx context.Context, method string, request []byte) ([]byte, error) {
	var answer []byte
	err := a.next.Invoke(along(ctx), "/"+service+"/"+method, &request, &answer)
	return answer, err
}

func (a *application) unary(ctx context.Context, request []byte) ([]byte, error) {
	if a.next == nil {
		return []byte(a.own), nil
	}
	answer, err := a.ask(ctx, "Unary", request)
	return a.prefixed(answer), err
}

func (a *application) wait(ctx context.Context, request []byte) ([]byte, error) {
	if a.next != nil {
		return a.ask(ctx, "Wait", request)
	}
	a.waiting.Add(1)
	<-ctx.Done()
	a.waiting.Add(-1)
	a.waited.Add(1)
	return nil, ctx.Err()
}

func (a *application) waits(ctx context.Context, request []byte) ([]byte, error) {
	if a.next != nil {
		return a.ask(ctx, "Waits", request)
	}
	return fmt.Appendf(nil, "%d %d", a.waiting.Load(), a.waited.Load()), nil
}

func (a *application) down(stream grpc.ServerStream) error {
	own := []byte(a.own)
	for range 3 {
		if err := stream.SendMsg(&own); err != nil {
			return err
		}
	}
	return nil
}

func (a *application) up(stream grpc.ServerStream) error {
	var part []byte
	for count := 0; ; count++ {
		switch err := stream.RecvMsg(&part); err {
		case nil:
		case io.EOF:
			answer := fmt.Appendf(nil, "%s %d", a.own, count)
			return stream.SendMsg(&answer)
		default:
			return err
		}
	}
}

func (a *application) both(stream grpc.ServerStream) error {
	own := []byte(a.own)
	var part []byte
	for {
		switch err := stream.RecvMsg(&part); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if err := stream.SendMsg(&own); err != nil {
			return err
		}
	}
}

// handOn asks the next application the same, message by message in both directions.
func (a *application) handOn(description *grpc.StreamDesc, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(along(stream.Context()))
	defer cancel()
	onward, err := a.next.NewStream(ctx, description, "/"+service+"/"+description.StreamName)
	if err != nil {
		return err
	}
	go func() {
		var part []byte
		for stream.RecvMsg(&part) == nil {
			if onward.SendMsg(&part) != nil {
				return // What is wrong, the other direction is told.
			}
		}
		onward.CloseSend()
	}()
	var part []byte
	for {
		switch err := onward.RecvMsg(&part); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		answer := a.prefixed(part)
		if err := stream.SendMsg(&answer); err != nil {
			return err
		}
	}
}

func (a *application) method(
	name string, handle func(context.Context, []byte) ([]byte, error),
) grpc.MethodDesc {
	handler := func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request []byte
		if err := read(&request); err != nil {
			return nil, err
		}
		answer, err := handle(ctx, request)
		return &answer, err
	}
	return grpc.MethodDesc{MethodName: name, Handler: handler}
}

func (a *application) stream(
	name string, fromClient, fromServer bool, handle func(grpc.ServerStream) error,
) grpc.StreamDesc {
	description := grpc.StreamDesc{StreamName: name, ClientStreams: fromClient, ServerStreams: fromServer}
	whole := description
	description.Handler = func(_ any, stream grpc.ServerStream) error {
		if a.next != nil {
			return a.handOn(&whole, stream)
		}
		return handle(stream)
	}
	return description
}

func main() {
	label, ip, port, next := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	a := &application{own: fmt.Sprintf("%s[%s]", label, ip)}
	if next != "-" {
		connection, err := grpc.NewClient(next,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{})))
		if err != nil {
			log.Fatal(err)
		}
		a.next = connection
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, port))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(plain{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			a.method("Unary", a.unary),
			a.method("Wait", a.wait),
			a.method("Waits", a.waits),
		},
		Streams: []grpc.StreamDesc{
			a.stream("Down", false, true, a.down),
			a.stream("Up", true, false, a.up),
			a.stream("Both", true, true, a.both),
		},
	}, a)
	log.Fatal(server.Serve(listener))
}
