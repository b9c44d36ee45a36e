package handler

// The operations that a client may do, as the bits 1<<operation of KIP-430. Without
// an authorizer everybody may do everything that the resource knows.
const (
	operationsNotAsked int32 = -1 << 31

	opRead, opWrite, opCreate, opDelete, opAlter = 3, 4, 5, 6, 7
	opDescribe, opClusterAction                  = 8, 9
	opDescribeConfigs, opAlterConfigs            = 10, 11
	opIdempotentWrite                            = 12

	topicOperations int32 = 1<<opRead | 1<<opWrite | 1<<opCreate | 1<<opDelete | 1<<opAlter |
		1<<opDescribe | 1<<opDescribeConfigs | 1<<opAlterConfigs
	clusterOperations int32 = 1<<opCreate | 1<<opAlter | 1<<opDescribe | 1<<opClusterAction |
		1<<opDescribeConfigs | 1<<opAlterConfigs | 1<<opIdempotentWrite
)

func operations(asked bool, all int32) int32 {
	if asked {
		return all
	}
	return operationsNotAsked
}
