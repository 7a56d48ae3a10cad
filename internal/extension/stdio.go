// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// dataField is the number of the bytes in go-plugin's message StdioData.
const dataField = 2

// follow reads what the extension writes to os.Stdout and os.Stderr after go-plugin has put pipes in their place: an
// extension that nobody reads stands still when these are full. It returns when the context or the extension ends.
func follow(ctx context.Context, conn *grpc.ClientConn, to io.Writer) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil || stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	for {
		var message emptypb.Empty // whose fields are all unknown
		if stream.RecvMsg(&message) != nil {
			return
		}
		to.Write(field(message.ProtoReflect().GetUnknown(), dataField))
	}
}

// field returns the bytes that the message has in the field.
func field(message []byte, wanted protowire.Number) []byte {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		if number == wanted && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			return value
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return nil
		}
		message = message[n+size:]
	}
	return nil
}
